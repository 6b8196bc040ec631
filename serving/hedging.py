"""A second call where the first one takes unusually long. grpcio's C core does not hedge, so this is our own."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_STALE = 32  # one new duration in so many moves a quantile little, and sorting costs something


class RecentQuantile:
    """A quantile of the last `kept` durations; one in 32 of them may not count yet."""

    def __init__(self, q: float, least: int, kept: int = 1024) -> None:
        """`q` in (0, 1); fewer than `least` durations, at most `kept`, have no quantile."""
        self._q, self._least = q, least
        self._seconds = deque[float](maxlen=kept)
        self._new = 0  # since the value was taken
        self._value: float | None = None

    def add(self, seconds: float) -> None:
        """One more duration."""
        self._seconds.append(seconds)
        self._new += 1
        if len(self._seconds) >= self._least and self._new * _STALE >= len(self._seconds):
            self._new = 0
            ordered = sorted(self._seconds)
            self._value = ordered[min(math.ceil(self._q * len(ordered)), len(ordered)) - 1]

    def value(self) -> float | None:
        """The smallest duration that is at least as long as a share `q` of them; None before there are enough."""
        return self._value


async def first_good(
    first: Coroutine[Any, Any, T],
    after_s: float,
    second: Callable[[], Coroutine[Any, Any, T] | None],
    bad: type[Exception],
) -> tuple[T, bool]:
    """What `first` returns, or, if it has not ended after `after_s`, what the faster one of it and `second()` does.

    The answer comes with whether it is that of the second. `second` is asked once and may decline with None. One that raises `bad`
    loses against one that goes on; if both do, the error of `first` is raised. Whatever is still running at the end is cancelled,
    also when the caller is.
    """
    primary = asyncio.ensure_future(first)
    running = {primary}
    try:
        done, _ = await asyncio.wait(running, timeout=after_s)
        other = None if done else second()
        if other is None:
            return await primary, False
        hedge = asyncio.ensure_future(other)
        running.add(hedge)
        pending = set(running)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in (primary, hedge):
                if task in done and not isinstance(task.exception(), bad):
                    return task.result(), task is hedge
        return primary.result(), False
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
