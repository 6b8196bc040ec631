"""How much time a request has left, and how to divide it. Pure arithmetic on an injected monotonic clock; seconds throughout."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

Clock = Callable[[], float]  # seconds, monotonic, from an arbitrary start


class HasTimeRemaining(Protocol):
    """The one thing asked of a gRPC context."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None if it waits forever."""


class Budget:
    """The time of one request. It only shrinks; nothing it returns is ever negative, NaN or infinite.

    `reserve` is the part of the total, 0 to 1, that `share` never gives away: it is for the work after the last share.
    """

    def __init__(self, total_s: float, now: Clock = time.monotonic, reserve: float = 0.0) -> None:
        if not math.isfinite(total_s) or not 0.0 <= reserve <= 1.0:
            raise ValueError(f"a budget of {total_s} seconds with a reserve of {reserve} is no budget")
        self._now = now
        self._end = now() + max(total_s, 0.0)
        self._reserve_s = max(total_s, 0.0) * reserve

    @classmethod
    def of_call(
        cls, context: HasTimeRemaining, limit_s: float, now: Clock = time.monotonic, reserve: float = 0.0
    ) -> Budget:
        """What the caller left, at most `limit_s`: a caller without a deadline does not get to wait forever."""
        remaining = context.time_remaining()
        return cls(limit_s if remaining is None or not remaining < limit_s else remaining, now, reserve)

    def remaining(self) -> float:
        """Seconds left; 0 once the time is over."""
        return max(self._end - self._now(), 0.0)

    def share(self, fraction: float) -> float:
        """`fraction` of what is left after the reserve is set aside. ValueError unless 0 <= fraction <= 1."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"cannot take the share {fraction}")
        return max(self.remaining() - self._reserve_s, 0.0) * fraction
