"""Decayed counts over a log that is grouped by user: the same sums that user state adds up event by event.

Shapes: K events, by user and by time within a user; W windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.recency import N_WINDOWS, fading
from training.columns import CHUNK, Scratch

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_NOTHING = 1e-30  # of a count: below it an event is forgotten


def decayed_sums(user_K: NDArray[np.integer], time_ms_K: Int64, scratch: Scratch) -> Float64:
    """How much of the user's events up to and including each one is left at its own time, [W, K]. At least 1 everywhere."""
    sums_WK: Float64 = scratch.empty((N_WINDOWS, len(user_K)), np.float64)
    start = 0
    while start < len(user_K):
        end = min(start + CHUNK, len(user_K))
        if end < len(user_K):
            first = int(np.searchsorted(user_K, user_K[end - 1]))  # whole users only, or a user alone
            end = first if first > start else int(np.searchsorted(user_K, user_K[end - 1], side="right"))
        of = slice(start, end)
        sums_WK[:, of] = _sums(user_K[of], time_ms_K[of])
        start = end
    return sums_WK


def _sums(user_K: NDArray[np.integer], time_ms_K: Int64) -> Float64:
    """The recurrence s[k] = 1 + f[k] s[k-1] in log(K) passes (Hillis and Steele 1986): each doubles how far a sum reaches back."""
    left_WK = np.zeros((N_WINDOWS, len(user_K)))
    left_WK[:, 1:] = np.where(np.diff(user_K) == 0, fading(np.maximum(np.diff(time_ms_K), 0)), 0.0)
    sums_WK, reach = np.ones_like(left_WK), 1
    while reach < len(user_K) and left_WK.any():
        sums_WK[:, reach:] += left_WK[:, reach:] * sums_WK[:, :-reach]
        left_WK[:, reach:] *= left_WK[:, :-reach].copy()
        left_WK[:, :reach] = 0
        left_WK[left_WK < _NOTHING] = 0  # numbers next to 0 are slow
        reach *= 2
    return sums_WK
