"""The examples that rankers learn from: impressions with labels, dense features and the history at the moment of the request.

Knows how examples are grouped into requests and how they are computed without looking ahead; knows nothing of models.

Shapes: N impressions, B requests, T tasks, F dense features (`features.dense.FEATURES`), L = HISTORY_LENGTH slots,
S = RELATED_SLOTS slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from features.dense import FEATURES, NEUTRAL_POSITION
from training.columns import Scratch, chunks, selected

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
    scratch: Scratch = field(default_factory=Scratch, repr=False)  # where the columns of a selection are kept

    def __len__(self) -> int:
        """The number of impressions N."""
        return len(self.row_N)

    @property
    def n_requests(self) -> int:
        """The number of requests B."""
        return len(self.history_row_BL)

    def __post_init__(self) -> None:
        """Raises ValueError naming the column whose length does not fit, or requests that are not contiguous."""
        for name in _OF_IMPRESSIONS:
            if len(getattr(self, name)) != len(self):
                raise ValueError(f"RankingSet.{name} has {len(getattr(self, name))} rows, expected {len(self)}")
        for name in ("history_action_BL", "history_age_ms_BL"):
            if getattr(self, name).shape != self.history_row_BL.shape:
                raise ValueError(f"RankingSet.{name} does not have the shape {self.history_row_BL.shape}")
        if self.label_NT.shape[1:] != (len(self.tasks),):
            raise ValueError(f"RankingSet.label_NT has shape {self.label_NT.shape}, tasks are {self.tasks}")
        if any(np.any(np.diff(self.request_N[max(of.start - 1, 0) : of.stop]) < 0) for of in chunks(0, len(self))):
            raise ValueError("RankingSet.request_N must never decrease")

    def same_impressions(self, other: RankingSet) -> bool:
        """Whether `other` has the same users see the same media at the same times, in the same order."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _WHO_SAW_WHAT)

    def at_neutral_position(self) -> RankingSet:
        """The same impressions at the place on the page that serving assumes of every candidate."""
        dense_NF: Float32 = self.scratch.empty(self.dense_NF.shape, np.float32)
        for of in chunks(0, len(self)):
            dense_NF[of] = self.dense_NF[of]
            dense_NF[of, _POSITION] = NEUTRAL_POSITION
        return replace(self, dense_NF=dense_NF)

    def select(self, chosen: NDArray[np.bool_] | slice) -> RankingSet:
        """The requests that `chosen` (mask [B], or slice over requests) names, renumbered from 0, in the same order."""
        keep_B = np.zeros(self.n_requests, dtype=np.bool_)
        keep_B[chosen] = True
        return self._kept(keep_B[self.request_N], keep_B)

    def rows(self, keep_N: NDArray[np.bool_]) -> RankingSet:
        """The impressions that the mask names, in the same order; requests that lose all of theirs are left out."""
        keep_B = np.zeros(self.n_requests, dtype=np.bool_)
        for of in chunks(0, len(self)):
            keep_B[self.request_N[of][keep_N[of]]] = True
        return self._kept(keep_N, keep_B)

    def _kept(self, keep_N: NDArray[np.bool_], keep_B: NDArray[np.bool_]) -> RankingSet:
        columns = {name: selected(getattr(self, name), keep_N, self.scratch) for name in _OF_IMPRESSIONS}
        columns |= {name: selected(getattr(self, name), keep_B, self.scratch) for name in _OF_REQUESTS}
        number_B = np.cumsum(keep_B) - 1
        for of in chunks(0, len(columns["request_N"])):
            columns["request_N"][of] = number_B[columns["request_N"][of]]
        return RankingSet(tasks=self.tasks, **columns, scratch=self.scratch)


_POSITION = [feature.name for feature in FEATURES].index("position")
_WHO_SAW_WHAT = ("user_N", "time_ms_N", "request_N", "row_N")
_RELATED = ("related_row_NS", "related_action_NS", "related_age_hours_NS")
_OF_IMPRESSIONS = ("dense_NF", "label_NT", "row_N", "request_N", "user_N", "time_ms_N", *_RELATED)
_OF_REQUESTS = ("history_row_BL", "history_action_BL", "history_age_ms_BL")
