"""Commands of many callers in one round trip, against a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from valkey.asyncio import Valkey
from valkey.exceptions import ConnectionError as Lost
from valkey.exceptions import ResponseError

from features.valkey_trips import SharedTrips
from tests.valkeys import own_valkey

INCREASE = "return redis.call('INCR', KEYS[1])"


async def _reads(client: Valkey) -> int:
    """How often the server has read from sockets. A command that arrives whole is read at once."""
    return int((await client.info("stats"))["total_reads_processed"])


async def test_every_call_gets_its_own_answer_in_whatever_order_they_ask(valkey: Valkey) -> None:
    await valkey.execute_command("HSET", "h", "a", "1", "b", "2")
    await valkey.mset({"x": "3", "y": "4"})
    trips = SharedTrips(valkey)
    *values, number, again = await asyncio.gather(
        trips.mget(["y", "none", "x"]),
        trips.hmget("h", ["b", "a", "none"]),
        trips.eval(INCREASE, 1, "n"),
        trips.mget(["x"]),
    )
    assert values == [[b"4", None, b"3"], [b"2", b"1", None]]
    assert (number, again) == (1, [b"3"])


async def test_what_is_asked_in_one_turn_is_one_trip_and_what_comes_later_another(valkey: Valkey) -> None:
    trips = SharedTrips(valkey)
    await trips.eval(INCREASE, 1, "n")  # opens the connection
    before = await _reads(valkey)
    assert await asyncio.gather(*(trips.eval(INCREASE, 1, "n") for _ in range(20))) == list(range(2, 22))
    together = await _reads(valkey) - before
    for _ in range(20):
        await trips.eval(INCREASE, 1, "n")
    apart = await _reads(valkey) - before - together
    assert (together, apart) == (2, 21)  # each with the question that counts them


async def test_an_error_of_a_command_is_its_callers_alone(valkey: Valkey) -> None:
    await valkey.set("text", "no hash")
    trips = SharedTrips(valkey)
    asked: list[Awaitable[Any]] = [trips.hmget("text", ["a"]), trips.eval(INCREASE, 1, "n")]
    wrong, right = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(wrong, ResponseError)
    assert "WRONGTYPE" in str(wrong)
    assert right == 1


async def test_whoever_leaves_a_trip_leaves_the_others_in_it(valkey: Valkey) -> None:
    trips = SharedTrips(valkey)
    impatient, patient = (asyncio.create_task(trips.eval(INCREASE, 1, key)) for key in ("a", "b"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the trip has begun
    impatient.cancel()
    assert await patient == 1
    assert impatient.cancelled()


async def test_whoever_leaves_before_the_trip_is_not_asked_for(valkey: Valkey) -> None:
    trips = SharedTrips(valkey)
    asked = [asyncio.create_task(trips.eval(INCREASE, 1, key)) for key in ("a", "b")]
    asyncio.get_running_loop().call_soon(asked[0].cancel)  # after both have asked, before the turn is over
    assert await asked[1] == 1
    assert await valkey.mget(["a", "b"]) == [None, b"1"]


async def test_a_trip_that_everybody_gave_up_leaves_no_answers_to_others(valkey: Valkey) -> None:
    trips = SharedTrips(valkey)
    await valkey.client_pause(100)
    given_up = asyncio.gather(trips.mget(["a"]), trips.mget(["b"]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await given_up
    await valkey.set("c", "1")
    assert await trips.mget(["c"]) == [b"1"]


async def test_a_server_that_is_lost_is_told_to_all_and_found_again() -> None:
    with own_valkey(persist=False) as server:
        async with Valkey(**server.connection_kwargs) as client:
            trips = SharedTrips(client)
            assert await trips.eval(INCREASE, 1, "n") == 1
            server.terminate()
            lost = await asyncio.gather(trips.mget(["a"]), trips.mget(["b"]), return_exceptions=True)
            assert [isinstance(error, Lost | OSError) for error in lost] == [True, True]
            await asyncio.to_thread(server.start)
            assert await trips.eval(INCREASE, 1, "n") == 1
