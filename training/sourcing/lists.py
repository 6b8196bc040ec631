"""One list of rows per thing, stored as all rows one after the other and the offsets that cut them.

Arithmetic only: knows neither media nor users. Shapes: G things that have a list, P rows of all lists, E events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.columns import Scratch, blocks, grouped

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Lists:
    """`rows[offsets[g] : offsets[g + 1]]` is the list of thing g, best first."""

    offsets: Int64  # G + 1
    rows: Int32  # P

    @classmethod
    def of(cls, group_P: NDArray[np.integer], row_P: NDArray[np.integer], groups: int) -> Lists:
        """Rows that lie in the order of their groups already."""
        return cls(offsets_of(group_P, groups), row_P.astype(np.int32, copy=False))

    def covered(self) -> int:
        """How many things have a list that is not empty."""
        return int((np.diff(self.offsets) > 0).sum())


def offsets_of(group_P: NDArray[np.integer], groups: int) -> Int64:
    """Where each group starts, and where the last one ends. Shape [G + 1]."""
    return np.concatenate([[0], np.cumsum(np.bincount(group_P, minlength=groups))]).astype(np.int64)


def ranges(start_G: Int64, length_G: Int64) -> Int64:
    """`start, start + 1, ...` of every group, one group after the other. Shape [sum of lengths]."""
    before_G = np.cumsum(length_G) - length_G
    return np.arange(int(length_G.sum())) + np.repeat(start_G - before_G, length_G)


def rank_within(group_P: NDArray[np.integer]) -> Int64:
    """0-based place of every row inside its group; rows of a group must be neighbours. Shape [P]."""
    first_P = np.diff(group_P, prepend=-1) != 0
    start_P = np.maximum.accumulate(np.where(first_P, np.arange(len(group_P)), 0))
    return np.arange(len(group_P)) - start_P


def newest_distinct(
    group_E: NDArray[np.integer], row_E: NDArray[np.integer], most: int, scratch: Scratch | None = None
) -> tuple[Int32, Int32]:
    """Groups and rows [P] of the `most` latest distinct rows of every group, by group, newest first. Events are in time order."""
    place_E, start_G = grouped(
        lambda of: group_E[of], 0, len(group_E), int(group_E.max(initial=-1)) + 1, scratch or Scratch()
    )
    # Some groups at a time, so that no more than one block is sorted at once.
    parts = [(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))]
    for groups in blocks(start_G):
        own_E = np.sort(place_E[start_G[groups.start] : start_G[groups.stop]])
        group_P, row_P = _newest_distinct(group_E[own_E], row_E[own_E], most)
        parts.append((group_P.astype(np.int32), row_P.astype(np.int32)))
    return np.concatenate([group_P for group_P, _ in parts]), np.concatenate([row_P for _, row_P in parts])


def _newest_distinct(group_E: NDArray[np.integer], row_E: NDArray[np.integer], most: int) -> tuple[Int64, Int64]:
    newest_group_E: Int64 = group_E[::-1].astype(np.int64)
    newest_row_E: Int64 = row_E[::-1].astype(np.int64)
    key_E = newest_group_E * (newest_row_E.max(initial=0) + 1) + newest_row_E
    newest_P = np.sort(
        np.unique(key_E, return_index=True)[1]
    )  # the first of every pair, counted from the end of the log
    newest_P = newest_P[np.argsort(newest_group_E[newest_P], kind="stable")]
    newest_P = newest_P[rank_within(newest_group_E[newest_P]) < most]
    return newest_group_E[newest_P], newest_row_E[newest_P]
