"""What time it is for the cascade. Stages have no clock: the gateway's time travels with every request."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]  # milliseconds since the epoch, UTC


def wall_clock() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


def clock_from(start_ms: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> Clock:
    """A clock that stands at `start_ms` now and goes on from there.

    A recorded log ends in the past. Served at the time of day, every age in it would be months, which no model has seen; started
    where the log ends, the cascade behaves as it would have on that day.
    """
    origin_ns = monotonic_ns()
    return lambda: start_ms + (monotonic_ns() - origin_ns) // 1_000_000
