"""How many extra calls a stage may be sent, so that a stage in trouble is not sent more than it would be in health. Pure logic."""

from __future__ import annotations

import time

from serving.call_policy import CallPolicy
from serving.deadline import Clock
from serving.windows import SlidingCounts

_CALLS, _EXTRA = 0, 1


class RetryBudget:
    """One per stage, for retries and hedges together: at most a share of the calls of the last seconds, or a small number."""

    def __init__(self, policy: CallPolicy, now: Clock = time.monotonic) -> None:
        self._share, self._floor = policy.extra_share, policy.extra_floor
        self._window = SlidingCounts(2, policy.extra_window_s, now)

    def count_call(self) -> None:
        """A call that somebody asked for."""
        self._window.add(_CALLS)

    def spend(self) -> bool:
        """Whether one extra call may be made; if so, it is counted."""
        if self._window.total(_EXTRA) + 1 > max(self._floor, self._share * self._window.total(_CALLS)):
            return False
        self._window.add(_EXTRA)
        return True
