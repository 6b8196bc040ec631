"""The worker: one call at a time, a bounded queue, and errors that reach the caller."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serving.errors import Overloaded
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
