"""What flows between the steps of a query: rows of all users at once, as columns. Knows no operator and no bundle.

Shapes: B users, P rows of all users (grouped by user, in order within a user), S sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serving.ragged import Int64, first_places, offsets_of

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

NO_ROW = -1  # no seed account
ALL = 1 << 40  # more rows than there are: whoever asks for ALL gets everything


@dataclass(frozen=True)
class Flow:
    """The first rows of a list per user, in order. Media lists may go on: `more_B` says for whom."""

    user_P: Int64
    row_P: Int64  # item table rows: of media, or of accounts
    seed_row_P: Int64  # account row that the path started from, NO_ROW without one
    score_P: Float64  # orders the rows of one path; paths are not comparable
    source_P: NDArray[np.uint8]  # number of the source (`Plan.sources`) that a media row comes from
    more_B: Bool
    bound: Mapping[str, Int64] = field(default_factory=dict)  # columns named by `let`
    # Media dropped so far, by reason: arrays [B, S].
    dropped: Mapping[str, Int64] = field(default_factory=dict)
    # Of media that are to be merged with those of other shards: what orders a list over all shards, lowest first; of equal ones the
    # lower tie, then the lower media row.
    key_P: Float64 | None = None
    tie_P: Float64 | None = None  # None: all are 0

    def __len__(self) -> int:
        return len(self.user_P)

    @property
    def users(self) -> int:
        return len(self.more_B)

    @property
    def count_B(self) -> Int64:
        """Rows per user."""
        return np.bincount(self.user_P, minlength=self.users)

    @property
    def offsets(self) -> Int64:
        return offsets_of(self.user_P, self.users)

    def pick(self, place_X: Int64) -> Flow:
        """The rows at `place_X`, in that order, which must keep users together and rising."""
        return Flow(
            self.user_P[place_X],
            self.row_P[place_X],
            self.seed_row_P[place_X],
            self.score_P[place_X],
            self.source_P[place_X],
            self.more_B,
            bound={name: column_P[place_X] for name, column_P in self.bound.items()},
            dropped=self.dropped,
            key_P=None if self.key_P is None else self.key_P[place_X],
            tie_P=None if self.tie_P is None else self.tie_P[place_X],
        )

    def drop(self, dropped_P: Bool, reason: str, sources: int) -> Flow:
        """Without the rows of the mask, which are counted under `reason`."""
        gone = np.flatnonzero(dropped_P)
        if len(gone) == 0:
            return self
        return self.pick(np.flatnonzero(~dropped_P)).with_dropped(self.counted(gone, reason, sources))

    def counted(
        self, gone_X: Int64, reason: str, sources: int, onto: Mapping[str, Int64] | None = None
    ) -> Mapping[str, Int64]:
        """`onto` (what was dropped before) with the rows at `gone_X` added under `reason`."""
        cell_X = self.user_P[gone_X] * sources + self.source_P[gone_X]
        new_BS = np.bincount(cell_X, minlength=self.users * sources).reshape(self.users, sources)
        return add_counts(self.dropped if onto is None else onto, {reason: new_BS})

    def with_dropped(self, dropped: Mapping[str, Int64]) -> Flow:
        """The same rows with another account of what was dropped."""
        return replace(self, dropped=dropped)

    def only(self, active_B: Bool) -> Flow:
        """Nothing of the users outside the mask: neither rows, nor counts, nor a promise of more."""
        if active_B.all():
            return self
        kept = self.pick(np.flatnonzero(active_B[self.user_P]))
        counts = {reason: count_BS * active_B[:, None] for reason, count_BS in self.dropped.items()}
        return replace(kept, more_B=self.more_B & active_B, dropped=counts)


def start(user_P: Int64, row_P: Int64, seed_row_P: Int64, score_P: Float64, users: int) -> Flow:
    """Rows of a path that begins here, complete for every user."""
    source_P = np.zeros(len(user_P), dtype=np.uint8)
    return Flow(user_P, row_P, seed_row_P, score_P, source_P, np.zeros(users, dtype=np.bool_))


def nothing(users: int) -> Flow:
    """No rows for anybody."""
    empty = np.empty(0, dtype=np.int64)
    return start(empty, empty, empty, np.empty(0), users)


def joined(parts: Sequence[Flow]) -> Flow:
    """The rows of all parts, by user, then in the order of the parts. Columns named by `let` survive where all parts have them."""
    return stacked(parts)[0] if len(parts) > 1 else parts[0]


def stacked(parts: Sequence[Flow]) -> tuple[Flow, Int64]:
    """The same, and the number of the part that each row comes from. Shape [P]."""
    user_P = np.concatenate([part.user_P for part in parts])
    order_P = np.argsort(user_P, kind="stable")
    # A part without rows (nobody asked it, or nobody has any) may lack columns that nobody will miss.
    filled = [part for part in parts if len(part)] or parts
    names = set(filled[0].bound).intersection(*(part.bound for part in filled))
    dropped: Mapping[str, Int64] = {}
    for part in parts:
        dropped = add_counts(dropped, part.dropped)
    flow = Flow(
        user_P=user_P[order_P],
        row_P=np.concatenate([part.row_P for part in parts])[order_P],
        seed_row_P=np.concatenate([part.seed_row_P for part in parts])[order_P],
        score_P=np.concatenate([part.score_P for part in parts])[order_P],
        source_P=np.concatenate([part.source_P for part in parts])[order_P],
        more_B=np.logical_or.reduce([part.more_B for part in parts]),
        bound={name: np.concatenate([part.bound[name] for part in filled])[order_P] for name in sorted(names)},
        dropped=dropped,
        key_P=_keys(filled, order_P),
        tie_P=_ties(filled, order_P),
    )
    return flow, np.repeat(np.arange(len(parts)), [len(part) for part in parts])[order_P]


def _keys(parts: Sequence[Flow], order_P: Int64) -> Float64 | None:
    keys = [part.key_P for part in parts if part.key_P is not None]
    return np.concatenate(keys)[order_P] if len(keys) == len(parts) else None


def _ties(parts: Sequence[Flow], order_P: Int64) -> Float64 | None:
    if all(part.tie_P is None for part in parts):
        return None
    return np.concatenate([np.zeros(len(part)) if part.tie_P is None else part.tie_P for part in parts])[order_P]


def below_one(key_P: Float64) -> Float64:
    """The same order as numbers in (0, 1), so that another number can go before it. Shape [P]."""
    return 0.5 + key_P / (1 + np.abs(key_P)) / 2


def first_of_each(flow: Flow, sources: int, reason: str) -> Flow:
    """Only the first row of every user's media item or account; later ones are dropped."""
    again_P = np.ones(len(flow), dtype=np.bool_)
    again_P[first_places(flow.user_P * (int(flow.row_P.max(initial=0)) + 1) + flow.row_P)] = False
    return flow.drop(again_P, reason, sources)


def add_counts(counts: Mapping[str, Int64], more: Mapping[str, Int64]) -> Mapping[str, Int64]:
    """The sums of both by reason."""
    total = dict(counts)
    for reason, count_BS in more.items():
        total[reason] = total[reason] + count_BS if reason in total else count_BS
    return total
