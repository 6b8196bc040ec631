"""Where a stack saturates: the highest rate of arrivals that holds the SLO, found by steps. Knows rates and verdicts only."""

from __future__ import annotations

GROWTH = 1.5  # from a rate that held to the next one
PRECISION = 0.1  # it is enough to know the rate to this share
MAX_STEPS = 14


class StepSearch:
    """Up until a rate does not hold, then half-way between the best that did and the least that did not."""

    def __init__(self, first_rate: int) -> None:
        self.rate = first_rate  # to try now
        self.held = 0  # the highest that held; 0: none did
        self.broke: int | None = None  # the lowest that did not
        self.steps = 0

    def tried(self, ok: bool) -> bool:
        """Notes how the step at `rate` went. Returns False when the search is over; else `rate` is the next one."""
        self.steps += 1
        if ok:
            self.held = max(self.held, self.rate)
        else:
            self.broke = self.rate if self.broke is None else min(self.broke, self.rate)
        self.rate = self._next()
        settled = self.broke is not None and (
            self.broke - self.held <= max(PRECISION * self.held, 1) or self.rate in (self.held, self.broke)
        )
        return not settled and self.steps < MAX_STEPS

    def _next(self) -> int:
        if self.broke is None:
            return max(round(self.rate * GROWTH), self.rate + 1)
        return (self.held + self.broke) // 2
