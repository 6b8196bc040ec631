"""Where a stack saturates: the highest rate of arrivals that holds the SLO, found by steps. Knows rates and verdicts only."""

from __future__ import annotations

GROWTH = 1.5  # from a rate that held to the next one
PRECISION = 0.1  # it is enough to know the rate to this share
MAX_STEPS = 14  # until it is found; holding it once more comes on top
HOLD = 3  # times as long as a step, for the rate that was found: one fast moment of a shared machine is no capacity


class StepSearch:
    """Up until a rate does not hold, then half-way between the best that did and the least that did not. What is found must then
    hold for HOLD steps at a stretch; a rate that does not gives way to one that is lower by PRECISION."""

    def __init__(self, first_rate: int) -> None:
        self.rate = first_rate  # to try now
        self.broke: int | None = None  # the lowest that did not hold
        self.confirming = False  # whether `rate` is tried at length
        self.confirmed = False  # whether `held` did hold at length
        self.steps = 0
        self._held: list[int] = []

    @property
    def held(self) -> int:
        """The highest rate that held and is below all that did not; 0: none did."""
        return max((rate for rate in self._held if self.broke is None or rate < self.broke), default=0)

    @property
    def length(self) -> int:
        """How many steps at a stretch `rate` is tried for."""
        return HOLD if self.confirming else 1

    def tried(self, ok: bool) -> bool:
        """Notes how `rate` went. Returns False when the search is over; else `rate` is the next one."""
        self.steps += 1
        if ok:
            self._held.append(self.rate)
        else:
            self.broke = self.rate if self.broke is None else min(self.broke, self.rate)
        if self.confirming:
            self.confirmed = ok
            return not ok and self._lower()
        self.rate = self._next()
        return self._confirm() if self._settled() else self.steps < MAX_STEPS

    def _settled(self) -> bool:
        if self.broke is None:
            return False
        return self.broke - self.held <= max(PRECISION * self.held, 1) or self.rate in (self.held, self.broke)

    def _confirm(self) -> bool:
        self.rate, self.confirming = self.held, True
        return self.held > 0

    def _lower(self) -> bool:
        self.rate = max(min(round((1 - PRECISION) * self.rate), self.rate - 1), self.held)
        return self.rate > 0

    def _next(self) -> int:
        if self.broke is None:
            return max(round(self.rate * GROWTH), self.rate + 1)
        return (self.held + self.broke) // 2
