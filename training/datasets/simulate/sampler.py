"""Weighted draws within groups, many at once. Knows weights and groups, not what they stand for.

Shapes: I items, G groups, X draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


class GroupedSampler:
    """Draws items with replacement, in proportion to their weights, from the group that each draw names.

    Weights below 1e-16 of the total may count as none.
    """

    def __init__(self, weight_I: NDArray[np.floating], group_I: Int64, n_groups: int) -> None:
        self._item_I = np.argsort(group_I, kind="stable")
        self._bound_I = np.concatenate([[0.0], np.cumsum(weight_I[self._item_I], dtype=np.float64)])
        first_G = np.searchsorted(group_I[self._item_I], np.arange(n_groups + 1))
        self._low_G, self._high_G = self._bound_I[first_G[:-1]], self._bound_I[first_G[1:]]

    def draw(self, group_X: Int64, rng: np.random.Generator) -> Int64:
        """One item for each entry of `group_X`; -1 from a group without weight. Shape [X]."""
        low_X, high_X = self._low_G[group_X], self._high_G[group_X]
        point_X = low_X + rng.random(len(group_X)) * (high_X - low_X)
        place_X = np.searchsorted(self._bound_I, point_X, side="right") - 1
        # Rounding may put a point onto the upper bound, which belongs to the next group.
        place_X = np.minimum(place_X, np.searchsorted(self._bound_I, high_X) - 1)
        return np.where(high_X > low_X, self._item_I[np.clip(place_X, 0, len(self._item_I) - 1)], -1)


def draw_columns(chance_XC: NDArray[np.floating], rng: np.random.Generator) -> Int64:
    """A column for each row, in proportion to the row's non-negative entries. Shape [X]."""
    bound_XC = np.cumsum(chance_XC, axis=1)
    point_X1 = rng.random((len(chance_XC), 1)) * bound_XC[:, -1:]
    return np.minimum((bound_XC <= point_X1).sum(axis=1), chance_XC.shape[1] - 1)
