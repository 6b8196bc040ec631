"""Action counters that move forward in time: totals, and recent counts that halve every day.

Shapes: K counted things (media or accounts), A action codes, E events.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HALF_LIFE_MS = DAY_MS


class ActionCounters:
    """Counts of K things by action, as of a moment that only moves forward.

    Training walks it over the log from snapshot to snapshot, publishing takes the last one: the same sums either way.
    """

    def __init__(self, n_things: int, as_of_ms: int) -> None:
        self.as_of_ms = as_of_ms
        self.counts_KA = np.zeros((n_things, N_ACTIONS), dtype=np.float64)
        self.recent_KA = np.zeros((n_things, N_ACTIONS), dtype=np.float64)

    def advance(
        self, to_ms: int, row_E: NDArray[np.integer], action_E: NDArray[np.integer], time_ms_E: NDArray[np.int64]
    ) -> None:
        """Moves to `to_ms`, counting E events that happened in [as_of_ms, to_ms). Raises ValueError for events outside."""
        if to_ms < self.as_of_ms:
            raise ValueError(f"counters cannot move back from {self.as_of_ms} to {to_ms}")
        if len(time_ms_E) and (int(time_ms_E.min()) < self.as_of_ms or int(time_ms_E.max()) >= to_ms):
            raise ValueError(f"events outside [{self.as_of_ms}, {to_ms}) cannot be counted in this step")
        shape = self.counts_KA.shape
        cell_E = row_E.astype(np.int64) * N_ACTIONS + action_E
        weight_E = np.exp2((time_ms_E - to_ms) / HALF_LIFE_MS)
        self.recent_KA *= np.exp2((self.as_of_ms - to_ms) / HALF_LIFE_MS)
        self.counts_KA += np.bincount(cell_E, minlength=self.counts_KA.size).reshape(shape)
        self.recent_KA += np.bincount(cell_E, weights=weight_E, minlength=self.recent_KA.size).reshape(shape)
        self.as_of_ms = to_ms
