"""The worker: one call at a time, a bounded queue, and errors that reach the caller."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serving.errors import Expired, Overloaded
from serving.testing import FakeClock
from serving.worker import Worker


async def test_what_the_work_returns_comes_back() -> None:
    assert await Worker("w").run(lambda a, b: a + b, 2, b=3) == 5


async def test_what_the_work_raises_comes_back() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await Worker("w").run(int, "no number")


async def test_calls_beyond_the_queue_are_shed_and_those_in_it_are_served() -> None:
    worker, go = Worker("w", max_waiting=2), threading.Event()
    waiting = [asyncio.create_task(worker.run(go.wait, 30)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="w has 2 calls waiting"):
        await worker.run(go.wait)
    go.set()
    assert await asyncio.gather(*waiting) == [True, True]


@pytest.mark.parametrize(("left_s", "begins"), [(None, True), (5.0, True), (0.5, False), (0.0, False)])
async def test_work_whose_time_is_over_when_its_turn_comes_never_begins(left_s: float | None, begins: bool) -> None:
    clock, go, done = FakeClock(), threading.Event(), list[str]()
    worker = Worker("w", now=clock)
    first = asyncio.create_task(worker.run(go.wait, 30))
    second = asyncio.create_task(worker.run_within(left_s, done.append, "second"))
    await asyncio.sleep(0)
    clock.advance(1.0)
    go.set()
    await first
    if begins:
        await second
    else:
        with pytest.raises(Expired, match="w did not come to it"):
            await second
    assert done == (["second"] if begins else [])


async def test_work_that_is_cancelled_while_it_waits_never_begins_and_frees_its_place() -> None:
    worker, go, done = Worker("w", max_waiting=2), threading.Event(), list[str]()
    first = asyncio.create_task(worker.run(go.wait, 30))
    second = asyncio.create_task(worker.run(done.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    third = asyncio.create_task(worker.run(done.append, "third"))
    go.set()
    await asyncio.gather(first, third)
    assert done == ["third"]
