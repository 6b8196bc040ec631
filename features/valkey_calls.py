"""The calls of a Valkey client, as types: training knows the layout of user state and has no client."""

from __future__ import annotations

from typing import Any, Protocol

Command = tuple[Any, ...]  # as for `execute_command`


class AsyncValkey(Protocol):
    """The calls of `valkey.asyncio.Valkey` that user state needs. What they return is awaited."""

    def hmget(self, name: str, keys: list[Any]) -> Any: ...

    def mget(self, keys: list[Any]) -> Any: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


class Pooled(Protocol):
    """A client of which one connection at a time can be had, for commands that must stay together."""

    @property
    def connection_pool(self) -> Any: ...
