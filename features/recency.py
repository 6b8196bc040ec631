"""How often a user did what lately: counts of which every event counts half after an hour, or after a day.

Knows one user's counts at one moment; knows neither where they are kept nor how they are added up.

Shapes: W windows (`USER_HALF_LIVES_MS`), A action codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS
from features.counters import DAY_MS, HOUR_MS

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

USER_HALF_LIVES_MS = (HOUR_MS, DAY_MS)
N_WINDOWS = len(USER_HALF_LIVES_MS)
_RECORD = np.dtype("<f8")


@dataclass(frozen=True)
class RecentCounts:
    """Decayed counts as of the user's latest event. In which order events arrive changes them by no more than rounding."""

    as_of_ms: int
    sums_WA: Float64

    def at(self, time_ms: int) -> Float32:
        """The counts as of a later moment; an event of the future counts as if it happened now. Shape [W, A]."""
        waited_ms = max(time_ms - self.as_of_ms, 0)
        return (self.sums_WA * fading(np.full(1, waited_ms))).astype(np.float32)

    def encoded(self) -> bytes:
        """The form in which user state keeps them: float64, the moment first."""
        return np.concatenate([[self.as_of_ms], self.sums_WA.ravel()]).astype(_RECORD).tobytes()

    @classmethod
    def decoded(cls, record: bytes) -> RecentCounts:
        """The counts that `encoded` wrote."""
        values = np.frombuffer(record, dtype=_RECORD)
        return cls(int(values[0]), values[1:].reshape(N_WINDOWS, N_ACTIONS).astype(np.float64))


def fading(waited_ms_X: NDArray[np.integer]) -> Float64:
    """What is left of a count after so many milliseconds, per window. Shape [W, X]."""
    return np.exp2(-waited_ms_X[None, :] / np.array(USER_HALF_LIVES_MS, dtype=np.float64)[:, None])


NO_RECENT = RecentCounts(0, np.zeros((N_WINDOWS, N_ACTIONS)))
