"""Popular media, held in the gateway for the time when sourcing is lost. Knows no stage; fails closed on integrity.

Shapes: M media of the item table, P popular media kept, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import POSITIVE_ACTIONS, Action
from features.integrity import NON_RECOMMENDABLE_THRESHOLD, has_scores, recommendable
from features.item_table import ItemTable
from serving.columns import CandidateColumns

POPULAR_SOURCE = "popular_fallback"
POPULAR_LENGTH = 5_000  # more than a user's remembered `seen` media plus a full set of candidates
_PRIOR_IMPRESSIONS = 50.0

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class PopularMedia:
    """The most engaging media of a bundle, best first. A fallback, not a ranking: its scores are never shown as values."""

    media_id_P: Int64
    author_id_P: Int64

    @classmethod
    def from_items(cls, items: ItemTable, threshold: float = NON_RECOMMENDABLE_THRESHOLD) -> PopularMedia:
        """Orders by recent positive actions per impression, smoothed to the base rate; leaves out what may not be recommended."""
        positive = [int(action) for action in sorted(POSITIVE_ACTIONS)]
        done_M = items.recent_counts_MA[:, positive].sum(axis=1)
        prior = float(items.base_rate_A[positive].sum()) * _PRIOR_IMPRESSIONS
        rate_M = (done_M + prior) / (items.recent_counts_MA[:, Action.IMPRESSION] + _PRIOR_IMPRESSIONS)
        score_M = items.non_recommendable_M
        allowed_M = recommendable(score_M, threshold, allow_missing=not has_scores(score_M))
        eligible_M = allowed_M & (items.created_at_ms_M <= items.as_of_ms)
        order = np.flatnonzero(eligible_M)[np.argsort(-rate_M[eligible_M], kind="stable")][:POPULAR_LENGTH]
        return cls(items.media_id_M[order], items.account_id_U[items.author_row_M[order]])

    def candidates(self, seen_S: Int64, count: int) -> CandidateColumns:
        """The best `count` that the user has not seen, unscored, for one user."""
        row_N = np.flatnonzero(~np.isin(self.media_id_P, seen_S))[:count]
        return CandidateColumns(
            offsets=np.array([0, len(row_N)], dtype=np.int64),
            media_id_N=self.media_id_P[row_N],
            author_id_N=self.author_id_P[row_N],
            seed_account_id_N=np.zeros(len(row_N), dtype=np.int64),
            source_index_N=np.zeros(len(row_N), dtype=np.uint8),
            score_N=np.full(len(row_N), np.nan, dtype=np.float32),
            sources=(POPULAR_SOURCE,),
        )
