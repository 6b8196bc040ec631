"""User state that a test writes one user at a time: with the commands that the journal sends for all users of a call."""

from __future__ import annotations

from collections.abc import Sequence

from features.user_state import (
    RelationChange,
    StateEvent,
    UserStateStore,
    append_command,
    relation_commands,
)
from features.valkey_calls import Command


class StateWriter(UserStateStore):
    """A store that also appends events and sets relations, without archive."""

    async def append(self, user_id: str, events: Sequence[StateEvent]) -> int:
        """Returns how many were new."""
        return await self._eval(append_command(user_id, events))

    async def set_relations(self, user_id: str, changes: Sequence[RelationChange]) -> None:
        """In their order."""
        for command in relation_commands(user_id, changes):
            await self._eval(command)

    async def _eval(self, command: Command) -> int:
        _, script, n_keys, *arguments = command
        return int(await self._client.eval(script, n_keys, *arguments))
