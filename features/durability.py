"""Writes to Valkey that would survive a crash by the time they return. Knows no layout and no protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import valkey.exceptions

from features.valkey_calls import Command, Pooled
from features.valkey_trips import answers

# A write in any case, also for a Valkey that is full: it renews a time, which takes no memory.
_RENEW = "return redis.call('EXPIRE', KEYS[1], 31536000) == 1 or redis.call('SET', KEYS[1], '1', 'EX', 31536000)"
_FENCE: Command = ("EVAL", _RENEW, 1, "explore:fence")
_WAIT: Command = (
    "WAITAOF",
    1,
    0,
    0,
)  # on this server, on no replica, for as long as it takes: the round trip is bounded as a whole


class Durability(StrEnum):
    """What must have happened to a write before it is acknowledged."""

    AOF = "aof"  # it is in the append-only file, on disk
    NONE = "none"  # Valkey has it in memory


class NotDurable(Exception):
    """The writes may have been carried out, but a crash may undo them."""


@dataclass(frozen=True)
class DurableWrites:
    """Sends commands over one connection of one server, in order, and waits for its append-only file.

    Group commit: with `appendfsync always`, Valkey answers all that it carried out in one turn of its event loop after one fsync.
    With `everysec` it answers once the file is written, which outlives the end of Valkey but not of the machine. Raises
    TimeoutError after `timeout_s`. On a cluster, commands and wait would have to go to the node of each user and of each shard of
    the archive: this sends all of them to one server.
    """

    client: Pooled
    durability: Durability = Durability.NONE
    timeout_s: float = 1.0  # for one round trip, the fsync included

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """What the commands return. Raises the first error that one of them returned, and NotDurable when they may be lost."""
        if self.durability is Durability.NONE:
            return await self.read(commands)
        # WAITAOF waits for the last write of this connection. What is sent again may find everything stored, by a connection that
        # broke before its own wait was over, and write nothing: the fence is a write in any case, and comes after all.
        # It is asked once the writes are answered, which costs a round trip: in one batch with them it would be looked at before
        # the fsync, and then not until Valkey next wakes up, up to 100 ms later.
        (*results, fence), (waited,) = await self._sent([*commands, _FENCE], [_WAIT])
        _raise_first([*results, fence])
        if isinstance(waited, valkey.exceptions.ResponseError):
            raise NotDurable(f"Valkey cannot promise to keep it ({waited}): set `appendonly yes` there") from waited
        return results

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """What the commands return, as soon as they do. Raises the first error that one of them returned."""
        (results,) = await self._sent(commands)
        _raise_first(results)
        return results

    async def _sent(self, *batches: Sequence[Command]) -> list[list[Any]]:
        async with asyncio.timeout(self.timeout_s):
            return await answers(self.client, *batches)


def _raise_first(results: Sequence[Any]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result
