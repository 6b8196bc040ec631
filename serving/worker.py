"""One thread for work that would hold up the event loop, with a bounded queue in front of it. Knows nothing of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from serving.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 64  # calls that may wait for the worker; more would only time out


class Worker:
    """Runs one call at a time; numpy, FAISS and onnxruntime release the GIL while they compute."""

    def __init__(self, name: str, max_waiting: int = MAX_WAITING) -> None:
        self._name, self._max_waiting, self._waiting = name, max_waiting, 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns. Raises Overloaded, before any work is done, when too many calls wait already."""
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._name} has {self._waiting} calls waiting")
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Ends the thread; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
