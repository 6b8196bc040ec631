"""When to leave an endpoint alone. Pure logic on an injected clock; knows neither calls nor channels.

closed --(failures)--> open --(delay)--> half-open: one call may probe --good--> closed
                         ^-----------------bad, and the delay doubles----'
"""

from __future__ import annotations

import time
from enum import Enum, auto

from serving.call_policy import BreakerPolicy
from serving.deadline import Clock
from serving.windows import SlidingCounts


class Outcome(Enum):
    """What a call says about the endpoint that it was made to."""

    ANSWERED = auto()  # an error of the stage is an answer too
    LOST = auto()  # nobody answered
    LATE = auto()  # no answer in a time in which one was to be expected
    UNKNOWN = auto()  # given up by the caller


_GOOD, _BAD = 0, 1


class Breaker:
    """One per endpoint. A call asks `allows`, then is framed by `begin` and `end`."""

    def __init__(self, policy: BreakerPolicy, now: Clock = time.monotonic) -> None:
        self._policy, self._now = policy, now
        self._round = 0  # calls that began before the breaker last opened or closed say nothing about now
        self._open_until: float | None = None
        self._delay_s = policy.open_s
        self._probing = False
        self._in_a_row = 0
        self._window = SlidingCounts(2, policy.window_s, now)

    @property
    def is_open(self) -> bool:
        """From the failure that opened it until a probe has succeeded."""
        return self._open_until is not None

    def allows(self) -> bool:
        """Whether a call may begin: always while closed; while open, only one at a time and only once the delay is over."""
        return self._open_until is None or (not self._probing and self._now() >= self._open_until)

    def begin(self) -> int:
        """A call begins; `end` wants the number."""
        self._probing = self.is_open
        return self._round

    def end(self, begun: int, outcome: Outcome) -> None:
        """The call that `begin` gave this number to has ended."""
        if begun != self._round:
            return
        if self.is_open:
            self._end_probe(outcome)
        elif outcome is Outcome.ANSWERED:
            self._in_a_row = 0
            self._window.add(_GOOD)
        elif outcome is not Outcome.UNKNOWN:
            self._in_a_row += 1
            self._window.add(_BAD)
            if self._too_many():
                self._open(self._policy.open_s)

    def probe_now(self) -> None:
        """Ends the delay: something else than a call says that the endpoint is back."""
        if self._open_until is not None:
            self._open_until = min(self._open_until, self._now())

    def _end_probe(self, outcome: Outcome) -> None:
        self._probing = False
        if outcome is Outcome.ANSWERED:
            self._round += 1
            self._open_until = None
            self._in_a_row = 0
            self._window.clear()
        elif outcome is not Outcome.UNKNOWN:
            self._open(min(self._delay_s * 2, self._policy.max_open_s))

    def _open(self, delay_s: float) -> None:
        self._round += 1
        self._delay_s = delay_s
        self._open_until = self._now() + delay_s
        self._probing = False

    def _too_many(self) -> bool:
        bad = self._window.total(_BAD)
        calls = bad + self._window.total(_GOOD)
        share_is_bad = calls >= self._policy.window_calls and bad >= self._policy.failure_share * calls
        return share_is_bad or self._in_a_row >= self._policy.failures_in_a_row
