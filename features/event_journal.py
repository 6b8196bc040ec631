"""Takes events and relations in so that they are not lost: archived, counted in user state, and on disk before it says so.

Knows Valkey and its two layouts, `features.user_state` and `features.event_archive`; knows no protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features import exposure_records
from features.durability import Durability, DurableWrites
from features.event_archive import (
    ARCHIVE_EVENTS,
    SHARDS,
    Cause,
    FeedbackEvent,
    archive_command,
    archived,
    cause_of,
    removal_command,
    shard_of,
    stream_key,
)
from features.exposures import Exposure
from features.user_state import (
    RelationChange,
    append_command,
    exposure_keys,
    forget_command,
    relation_commands,
)

_LAST_ENTRIES = 100  # of each shard
_Requests = list[tuple[str, str]]  # user, request


@dataclass(frozen=True)
class Forgotten:
    """What there was of a user in Valkey."""

    state_fields: int
    event_ids: int
    exposures: int


class EventJournal:
    """Writes for all users of a call at once. Raises NotDurable, TimeoutError, and what the client raises."""

    def __init__(self, writes: DurableWrites, archive_events: int = ARCHIVE_EVENTS) -> None:
        """`archive_events`: how many are kept, over all shards; the oldest go first."""
        self._writes, self._per_shard = writes, -(-archive_events // SHARDS)

    async def record(self, by_user: Mapping[str, Sequence[FeedbackEvent]]) -> int:
        """Archives all events and counts those that are new; returns how many were. Safe to repeat: an event id counts once.

        The archive comes first: whoever finds an event in the state finds it there too. Between the two a crash may leave an event
        that is archived and not counted. It is not acknowledged, so it comes again.
        """
        causes = await self._causes(by_user)
        archive = [
            archive_command(event, cause, self._per_shard)
            for user, events in by_user.items()
            for event, cause in zip(events, causes[user], strict=True)
        ]
        results = await self._writes.run([*archive, *(append_command(user, by_user[user]) for user in by_user)])
        return sum(int(new) for new in results[len(archive) :])

    async def relate(self, by_user: Mapping[str, Sequence[RelationChange]]) -> None:
        """Applies the changes of each user in their order, in one atomic step per user. Applying them again changes nothing."""
        await self._writes.run([command for user in by_user for command in relation_commands(user, by_user[user])])

    async def forget(self, user_id: str) -> Forgotten:
        """Removes state, event ids and exposures of a user. What comes later starts afresh."""
        ((fields, event_ids, exposures),) = await self._writes.run([forget_command(user_id)])
        return Forgotten(int(fields), int(event_ids), int(exposures))

    async def forget_archived(self, user_id: str) -> int:
        """Removes the user's entries from the archive as it stands now; returns how many.

        It looks through the user's shard, a chunk at a time, so that nobody waits long behind it.
        """
        (last,) = await self._writes.read([("XREVRANGE", stream_key(shard_of(user_id)), "+", "-", "COUNT", 1)])
        if not last:
            return 0
        removed, after, end = 0, "", last[0][0].decode()
        while True:
            ((here, last_seen),) = await self._writes.run([removal_command(user_id, after, end)])
            removed += int(here)
            if not last_seen:
                return removed
            after = last_seen.decode()

    async def newest_ms(self) -> int:
        """The latest time of the events that came last, 0 if there are none. Some come late, so a few of each shard count."""
        pages = await self._writes.read(
            [("XREVRANGE", stream_key(shard), "+", "-", "COUNT", _LAST_ENTRIES) for shard in range(SHARDS)]
        )
        entries = (dict(zip(fields[::2], fields[1::2], strict=True)) for page in pages for _, fields in page)
        return max((archived(entry)[0].time_ms for entry in entries), default=0)

    @property
    def note(self) -> str:
        """What people should know."""
        if self._writes.durability is Durability.AOF:
            return ""
        return (
            "feedback is acknowledged before it is on disk: a crash of Valkey may lose it (EXPLORE_FEEDBACK_DURABILITY)"
        )

    async def _causes(self, by_user: Mapping[str, Sequence[FeedbackEvent]]) -> dict[str, list[Cause]]:
        """Of each event, from the exposures of the requests that they name, read in one round trip."""
        exposures = await self._exposures(
            sorted({(user, event.request_id) for user in by_user for event in by_user[user] if event.request_id})
        )
        return {
            user: [cause_of(event, exposures.get((user, event.request_id))) for event in events]
            for user, events in by_user.items()
        }

    async def _exposures(self, requests: _Requests) -> dict[tuple[str, str], Exposure]:
        if not requests:
            return {}
        records = await self._writes.read(
            [("GET", *exposure_keys(user, [request_id])) for user, request_id in requests]
        )
        return {
            request: exposure_records.decode(record)
            for request, record in zip(requests, records, strict=True)
            if record is not None
        }
