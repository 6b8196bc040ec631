"""How often one client may call: a bucket that a token is taken from for every call, and that fills up again. Pure arithmetic."""

from __future__ import annotations

import time

from serving.deadline import Clock


class TokenBucket:
    """Holds up to `burst` tokens and begins full."""

    def __init__(self, per_second: float, burst: int, now: Clock = time.monotonic) -> None:
        self._per_second, self._burst, self._now = per_second, burst, now
        self._tokens, self._at = float(burst), now()

    def take(self) -> float:
        """0 if a token was there and is taken; else the seconds until there is one, and nothing is taken."""
        self._fill()
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        return 0.0

    def reshape(self, per_second: float, burst: int) -> None:
        """Other limits from now on, with the tokens that there are: whoever is exhausted stays so."""
        self._fill()
        self._per_second, self._burst = per_second, burst
        self._tokens = min(self._tokens, float(burst))

    def _fill(self) -> None:
        now = self._now()
        # A hair more than the time that `take` named, lest a caller who waits exactly so long is sent away for rounding.
        self._tokens = min(self._tokens + (now - self._at) * self._per_second + 1e-9, float(self._burst))
        self._at = now
