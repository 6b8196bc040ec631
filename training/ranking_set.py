"""The examples that rankers learn from: impressions with labels, dense features and the history at the moment of the request.

Knows how examples are grouped into requests and how they are computed without looking ahead; knows nothing of models.

Shapes: N impressions, B requests, T tasks, F dense features (`features.dense.FEATURES`), L = HISTORY_LENGTH slots,
S = RELATED_SLOTS slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class RankingSet:
    """N impressions of B requests in time order; the impressions of one request lie next to each other.

    Rows (`row_N`, `history_row_BL`) number the media of the whole dataset, the same in every snapshot. Authors and topics are not
    stored: they follow from the rows of an item table.
    """

    tasks: tuple[str, ...]
    dense_NF: Float32  # raw values, NaN = missing
    label_NT: Float32  # 0 or 1
    row_N: Int64  # item table row
    request_N: Int64  # 0 .. B-1, never decreasing
    user_N: Int64  # dense user number
    time_ms_N: Int64  # time of the request, the same for all its impressions
    history_row_BL: Int32  # right-aligned as in features.history.History; UNKNOWN_ROW in empty slots
    history_action_BL: NDArray[np.uint8]  # 0 in empty slots
    history_age_ms_BL: Int64
    related_row_NS: Int32  # as in features.related.RelatedActions
    related_action_NS: NDArray[np.uint8]
    related_age_hours_NS: Float32

    def __len__(self) -> int:
        """The number of impressions N."""
        return len(self.row_N)

    @property
    def n_requests(self) -> int:
        """The number of requests B."""
        return len(self.history_row_BL)

    def __post_init__(self) -> None:
        """Raises ValueError naming the column whose length does not fit, or requests that are not contiguous."""
        related = ("related_row_NS", "related_action_NS", "related_age_hours_NS")
        for name in ("dense_NF", "label_NT", "request_N", "user_N", "time_ms_N", *related):
            if len(getattr(self, name)) != len(self):
                raise ValueError(f"RankingSet.{name} has {len(getattr(self, name))} rows, expected {len(self)}")
        for name in ("history_action_BL", "history_age_ms_BL"):
            if getattr(self, name).shape != self.history_row_BL.shape:
                raise ValueError(f"RankingSet.{name} does not have the shape {self.history_row_BL.shape}")
        if self.label_NT.shape[1:] != (len(self.tasks),):
            raise ValueError(f"RankingSet.label_NT has shape {self.label_NT.shape}, tasks are {self.tasks}")
        if np.any(np.diff(self.request_N) < 0):
            raise ValueError("RankingSet.request_N must never decrease")

    def select(self, chosen: NDArray[np.bool_] | slice) -> RankingSet:
        """The requests that `chosen` (mask [B], or slice over requests) names, renumbered from 0, in the same order."""
        keep_B = np.zeros(self.n_requests, dtype=np.bool_)
        keep_B[chosen] = True
        return self.rows(keep_B[self.request_N])

    def rows(self, keep_N: NDArray[np.bool_]) -> RankingSet:
        """The impressions that the mask names, in the same order; requests that lose all of theirs are left out."""
        keep_B = np.zeros(self.n_requests, dtype=np.bool_)
        keep_B[self.request_N[keep_N]] = True
        return RankingSet(
            tasks=self.tasks,
            dense_NF=self.dense_NF[keep_N],
            label_NT=self.label_NT[keep_N],
            row_N=self.row_N[keep_N],
            request_N=(np.cumsum(keep_B) - 1)[self.request_N[keep_N]],
            user_N=self.user_N[keep_N],
            time_ms_N=self.time_ms_N[keep_N],
            history_row_BL=self.history_row_BL[keep_B],
            history_action_BL=self.history_action_BL[keep_B],
            history_age_ms_BL=self.history_age_ms_BL[keep_B],
            related_row_NS=self.related_row_NS[keep_N],
            related_action_NS=self.related_action_NS[keep_N],
            related_age_hours_NS=self.related_age_hours_NS[keep_N],
        )
