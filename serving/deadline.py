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
    """The time of one request. It only shrinks; nothing it returns is ever negative, NaN or infinite."""

    def __init__(self, total_s: float, now: Clock = time.monotonic) -> None:
        if not math.isfinite(total_s):
            raise ValueError(f"a budget of {total_s} seconds is no budget")
        self._now = now
        self._end = now() + max(total_s, 0.0)

    @classmethod
    def of_call(cls, context: HasTimeRemaining, limit_s: float, now: Clock = time.monotonic) -> Budget:
        """What the caller left, at most `limit_s`: a caller without a deadline does not get to wait forever."""
        remaining = context.time_remaining()
        return cls(limit_s if remaining is None or not remaining < limit_s else remaining, now)

    def remaining(self) -> float:
        """Seconds left; 0 once the time is over."""
        return max(self._end - self._now(), 0.0)

    def share(self, fraction: float, reserve_s: float = 0.0) -> float:
        """`fraction` of what is left after `reserve_s` is set aside for later work. ValueError unless 0 <= fraction <= 1."""
        if not 0.0 <= fraction <= 1.0 or not reserve_s >= 0.0:
            raise ValueError(f"cannot take the share {fraction} with a reserve of {reserve_s} seconds")
        return max(self.remaining() - reserve_s, 0.0) * fraction
