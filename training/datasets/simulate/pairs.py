"""Sets of pairs as sorted integers. Knows integers only.

numpy's own `unique` and `isin` hash integers, which takes many times as long on keys as regular as these.

Shapes: P pairs of a set, X pairs asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]


def as_set(pair_X: Int64) -> Int64:
    """The distinct pairs, ascending. Shape [P]."""
    pair_P = np.sort(pair_X)
    return pair_P[np.diff(pair_P, prepend=pair_P[:1] - 1) > 0]


def place_in(pair_P: Int64, pair_X: Int64) -> Int64:
    """Where each pair stands in the ascending set, -1 where it does not. Shape [X]."""
    if not len(pair_P):
        return np.full(len(pair_X), -1, dtype=np.int64)
    place_X = np.minimum(np.searchsorted(pair_P, pair_X), len(pair_P) - 1)
    return np.where(pair_P[place_X] == pair_X, place_X, -1)


def first_of_each(pair_X: Int64) -> Bool:
    """True where a pair occurs for the first time. Shape [X]."""
    order = np.argsort(pair_X, kind="stable")
    first_X = np.zeros(len(pair_X), dtype=np.bool_)
    first_X[order] = np.diff(pair_X[order], prepend=pair_X[order][:1] - 1) > 0
    return first_X
