"""The usual duration of calls, and the race between two of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.hedging import RecentQuantile, first_good

AT_ONCE, NEVER = 0.0, 60.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_the_quantile_has_its_share_of_the_durations_below_it(seconds: list[float], q: float) -> None:
    usual = RecentQuantile(q, least=1)
    for count, duration in enumerate(seconds, 1):
        usual.add(duration)
        value = usual.value()
        assert value in seconds[:count]
        assert sum(s <= value for s in seconds[:count]) >= math.floor(q * count)
        assert sum(s < value for s in seconds[:count]) <= math.ceil(q * count)


def test_too_few_durations_have_no_quantile() -> None:
    usual = RecentQuantile(0.95, least=3)
    for expected in (None, None, 3.0):
        usual.add(3.0)
        assert usual.value() == expected


def test_only_recent_durations_count() -> None:
    usual = RecentQuantile(0.5, least=1)
    for duration in [9.0] * 1024 + [1.0] * 1024:
        usual.add(duration)
    assert usual.value() == 1.0


class Lost(Exception):
    """What a race may recover from."""


class Runner:
    """One coroutine of a race: it runs until it is told how to end."""

    def __init__(self) -> None:
        self.started, self.told, self.cancelled = asyncio.Event(), asyncio.get_running_loop().create_future(), False

    async def run(self) -> str:
        self.started.set()
        try:
            return str(await self.told)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def race(first: Runner, second: Runner | None, after_s: float = AT_ONCE) -> tuple[str, bool]:
    def other() -> Coroutine[object, object, str] | None:
        return None if second is None else second.run()

    return await first_good(first.run(), after_s, other, Lost)


async def test_a_first_that_is_in_time_stays_alone() -> None:
    first, second = Runner(), Runner()
    first.told.set_result("first")
    assert await race(first, second, NEVER) == ("first", False)
    assert not second.started.is_set()


@pytest.mark.parametrize("second_wins", [False, True])
async def test_the_faster_one_wins_and_the_other_is_cancelled(second_wins: bool) -> None:
    first, second = Runner(), Runner()
    racing = asyncio.create_task(race(first, second))
    await second.started.wait()
    winner, loser = (second, first) if second_wins else (first, second)
    winner.told.set_result("good")
    assert await racing == ("good", second_wins)
    assert (winner.cancelled, loser.cancelled) == (False, True)


@pytest.mark.parametrize("second_is_lost", [False, True])
async def test_one_that_is_lost_leaves_the_answer_to_the_other(second_is_lost: bool) -> None:
    first, second = Runner(), Runner()
    racing = asyncio.create_task(race(first, second))
    await second.started.wait()
    lost, good = (second, first) if second_is_lost else (first, second)
    lost.told.set_exception(Lost())
    good.told.set_result("good")
    assert await racing == ("good", not second_is_lost)


async def test_both_lost_is_the_error_of_the_first() -> None:
    first, second = Runner(), Runner()
    racing = asyncio.create_task(race(first, second))
    await second.started.wait()
    second.told.set_exception(Lost("second"))
    first.told.set_exception(Lost("first"))
    with pytest.raises(Lost, match="first"):
        await racing


async def test_a_bug_is_not_recovered_from() -> None:
    first, second = Runner(), Runner()
    racing = asyncio.create_task(race(first, second))
    await second.started.wait()
    second.told.set_exception(TypeError("bug"))
    with pytest.raises(TypeError, match="bug"):
        await racing
    assert first.cancelled


async def test_where_no_second_is_to_be_had_the_first_is_waited_for() -> None:
    first = Runner()
    racing = asyncio.create_task(race(first, None))
    await first.started.wait()
    first.told.set_result("first")
    assert await racing == ("first", False)


async def test_whoever_gives_up_ends_both() -> None:
    first, second = Runner(), Runner()
    racing = asyncio.create_task(race(first, second))
    await second.started.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert first.cancelled
    assert second.cancelled
