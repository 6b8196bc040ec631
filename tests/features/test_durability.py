"""When a write counts as durable, against real Valkey servers with and without an append-only file."""

from __future__ import annotations

import asyncio

import pytest
import valkey.exceptions
from valkey.asyncio import Valkey

from features.durability import Durability, DurableWrites, NotDurable
from tests.valkeys import own_valkey


def _writes(client: Valkey, timeout_s: float = 5.0) -> DurableWrites:
    return DurableWrites(client, Durability.AOF, timeout_s)


async def test_what_was_acknowledged_is_there_after_a_crash() -> None:
    with own_valkey(persist=False, config={"appendonly": "yes", "appendfsync": "always", "save": ""}) as server:
        async with Valkey(**server.connection_kwargs) as client:
            assert await _writes(client).run([("INCR", "a"), ("INCR", "a")]) == [1, 2]
        server.terminate()
        await asyncio.to_thread(server.start)
        async with Valkey(**server.connection_kwargs) as client:
            assert await client.get("a") == b"2"


async def test_without_append_only_file_nothing_is_acknowledged(valkey: Valkey) -> None:
    with pytest.raises(NotDurable, match="set `appendonly yes` there"):
        await _writes(valkey).run([("SET", "a", "1")])


async def test_a_server_that_never_syncs_promises_nothing(durable_valkey: Valkey) -> None:
    await durable_valkey.config_set("appendfsync", "no")
    try:
        for _ in range(2):  # nor by a second call, which finds its own write there
            with pytest.raises(TimeoutError):
                await _writes(durable_valkey, timeout_s=0.05).run([("SETNX", "a", "1")])
    finally:
        await durable_valkey.config_set("appendfsync", "always")
    assert await _writes(durable_valkey).run([("SETNX", "a", "2"), ("GET", "a")]) == [0, b"1"]


async def test_the_first_error_is_raised(durable_valkey: Valkey) -> None:
    await durable_valkey.set("a", "text")
    for writes in (_writes(durable_valkey), DurableWrites(durable_valkey)):
        with pytest.raises(valkey.exceptions.ResponseError, match="not an integer"):
            await writes.run([("SET", "b", "1"), ("INCR", "a")])


async def test_a_cache_acknowledges_at_once(valkey: Valkey) -> None:
    assert await DurableWrites(valkey, Durability.NONE).run([("SET", "a", "1"), ("GET", "a")]) == [b"OK", b"1"]


@pytest.mark.parametrize("durability", Durability)
async def test_no_commands_return_nothing(durable_valkey: Valkey, durability: Durability) -> None:
    assert await DurableWrites(durable_valkey, durability).run([]) == []


async def test_an_idle_server_with_group_commit_answers_at_once(durable_valkey: Valkey) -> None:
    """A wait that came before its fsync would be noticed at the server's next tick only: a second later, at this rate."""
    await durable_valkey.config_set("hz", 1)
    try:
        for number in range(10):
            await _writes(durable_valkey, timeout_s=0.5).run([("SET", "a", str(number))])
    finally:
        await durable_valkey.config_set("hz", 10)


async def test_a_connection_that_was_given_up_leaves_no_answers_to_others(durable_valkey: Valkey) -> None:
    await durable_valkey.client_pause(100)
    with pytest.raises(TimeoutError):
        await _writes(durable_valkey, timeout_s=0.02).run([("SET", "a", "late")])
    assert await _writes(durable_valkey).run([("SET", "b", "1"), ("GET", "b")]) == [b"OK", b"1"]
    assert await durable_valkey.get("b") == b"1"
