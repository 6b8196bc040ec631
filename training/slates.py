"""Whole slates of candidates as the cascade meets them. Who fetched the candidates is not known here.

Shapes: N candidates of all slates, B slates (one user each), C places in the longest slate, F features, L history slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.assemble import assemble, candidate_view
from features.context import UserContexts
from features.dense import FEATURES
from features.item_table import ItemTable
from training.columns import Scratch

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Slates:
    """All candidates of B users; slate b is the rows `offsets[b] : offsets[b + 1]`.

    Histories and related actions as in `RankingSet`.
    """

    offsets: Int64  # B + 1
    dense_NF: Float32  # columns of features.dense.FEATURES, as serving computes them: no position is known
    row_N: Int64
    history_row_BL: NDArray[np.int32]
    history_action_BL: NDArray[np.uint8]
    history_age_ms_BL: Int64
    related_row_NS: NDArray[np.int32]
    related_action_NS: NDArray[np.uint8]
    related_age_hours_NS: Float32

    def __len__(self) -> int:
        """The number of slates B."""
        return len(self.offsets) - 1

    def __post_init__(self) -> None:
        """Raises ValueError when the columns do not fit together."""
        lengths = {int(self.offsets[-1]), len(self.dense_NF), len(self.row_N), len(self.related_row_NS)}
        if len(lengths) > 1 or len(self.history_row_BL) != len(self):
            raise ValueError(f"Slates of {len(self)} users have columns of different lengths: {sorted(lengths)}")

    @cached_property
    def request_N(self) -> Int64:
        """Slate of every candidate."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def scratch(self) -> Scratch:
        """Where outputs for the candidates go: memory, as a recipe bounds the number of slates."""
        return Scratch()

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """All arrays by name: `Slates(**columns)` makes the slates again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, keep_B: NDArray[np.bool_]) -> Slates:
        """The slates of the users that the mask [B] names, in the same order."""
        keep_N = keep_B[self.request_N]
        return Slates(
            offsets=np.append(0, np.cumsum(np.diff(self.offsets)[keep_B])).astype(np.int64),
            dense_NF=self.dense_NF[keep_N],
            row_N=self.row_N[keep_N],
            history_row_BL=self.history_row_BL[keep_B],
            history_action_BL=self.history_action_BL[keep_B],
            history_age_ms_BL=self.history_age_ms_BL[keep_B],
            related_row_NS=self.related_row_NS[keep_N],
            related_action_NS=self.related_action_NS[keep_N],
            related_age_hours_NS=self.related_age_hours_NS[keep_N],
        )

    def padded(self, value_N: NDArray[np.floating], fill: float) -> Float32:
        """One row per slate, [B, C], `fill` behind the end of shorter slates."""
        value_BC = np.full((len(self), int(np.diff(self.offsets).max(initial=0))), fill, dtype=np.float32)
        value_BC[self.request_N, np.arange(len(self.row_N)) - self.offsets[self.request_N]] = value_N
        return value_BC


def slates_of(contexts: UserContexts, items: ItemTable, row_N: Int64, user_N: Int64) -> Slates:
    """Slates of the candidates `row_N` of the users `user_N`, with the features that serving would compute.

    Needs memory for histories times candidates: call it with some hundred users at a time and join the parts.
    Raises ValueError as `candidate_view` does, and when candidates of one user do not lie together.
    """
    if np.any(np.diff(user_N) < 0):
        raise ValueError("user_N must never decrease")
    view = candidate_view(contexts, items, row_N, user_N)
    return Slates(
        offsets=np.searchsorted(user_N, np.arange(len(contexts) + 1)).astype(np.int64),
        dense_NF=assemble(view, FEATURES),
        row_N=row_N,
        history_row_BL=view.history.row_BL.astype(np.int32),
        history_action_BL=view.history.action_BL,
        history_age_ms_BL=view.history.age_ms_BL,
        related_row_NS=view.related.row_NS,
        related_action_NS=view.related.action_NS,
        related_age_hours_NS=view.related.age_hours_NS,
    )


def join(parts: Sequence[Slates]) -> Slates:
    """The slates of all parts, in order. Raises ValueError for no parts."""
    sizes_B = np.concatenate([np.diff(part.offsets) for part in parts])
    return Slates(
        offsets=np.append(0, np.cumsum(sizes_B)).astype(np.int64),
        dense_NF=np.concatenate([part.dense_NF for part in parts]),
        row_N=np.concatenate([part.row_N for part in parts]),
        history_row_BL=np.concatenate([part.history_row_BL for part in parts]),
        history_action_BL=np.concatenate([part.history_action_BL for part in parts]),
        history_age_ms_BL=np.concatenate([part.history_age_ms_BL for part in parts]),
        related_row_NS=np.concatenate([part.related_row_NS for part in parts]),
        related_action_NS=np.concatenate([part.related_action_NS for part in parts]),
        related_age_hours_NS=np.concatenate([part.related_age_hours_NS for part in parts]),
    )
