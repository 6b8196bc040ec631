"""One thread for work that would hold up the event loop, with a bounded queue in front of it. Knows nothing of the work.

Work that nobody waits for any more never starts: neither that of a call that was cancelled, nor that of one whose time is over.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from serving.deadline import Clock
from serving.errors import Expired, Overloaded

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 64  # calls that may wait for the worker; more would only time out


class Worker:
    """Runs one call at a time; numpy, FAISS and onnxruntime release the GIL while they compute."""

    def __init__(self, name: str, max_waiting: int = MAX_WAITING, now: Clock = time.monotonic) -> None:
        self._name, self._max_waiting, self._waiting, self._now = name, max_waiting, 0, now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns. Raises Overloaded, before any work is done, when too many calls wait already."""
        return await self.run_within(None, work, *args, **kwargs)

    async def run_within(self, left_s: float | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`. Raises Expired instead of starting what could not start within `left_s` seconds; None waits for ever."""
        expires = math.inf if left_s is None else self._now() + left_s

        def unless_over() -> T:
            if self._now() >= expires:
                raise Expired(f"{self._name} did not come to it in time")
            return work(*args, **kwargs)

        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._name} has {self._waiting} calls waiting")
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(unless_over))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Ends the thread; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
