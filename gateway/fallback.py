"""Popular media, held in the gateway for the time when sourcing is lost. Knows no stage; fails closed on integrity.

What sourcing would not show to a user, this page does not show either, as far as the gateway knows.
Shapes: M media of the item table, P popular media kept, N candidates, R relations and H history entries of the user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import NEGATIVE_ACTIONS, POSITIVE_ACTIONS, Action
from features.context import UserContexts
from features.integrity import NON_RECOMMENDABLE_THRESHOLD, MissingScore, allows_missing, has_scores, recommendable
from features.item_table import UNKNOWN_ROW, ItemTable
from features.relations import NO_ACCOUNT, Relation
from serving.columns import CandidateColumns
from serving.takedowns import Takedowns
from serving.watched import WatchedFile

POPULAR_SOURCE = "popular_fallback"
POPULAR_LENGTH = 5_000  # more than a user's remembered `seen` media plus a full set of candidates
_PRIOR_IMPRESSIONS = 50.0
_UNWANTED = (int(Relation.MUTED), int(Relation.BLOCKED))

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class PopularMedia:
    """The most engaging media of a bundle, best first. A fallback, not a ranking: its scores are never shown as values."""

    items: ItemTable
    media_id_P: Int64
    author_id_P: Int64
    takedowns: WatchedFile[Takedowns] | None = None
    max_age_ms: int | None = None  # older media are refused, by the time of the request

    @classmethod
    def from_items(
        cls,
        items: ItemTable,
        threshold: float = NON_RECOMMENDABLE_THRESHOLD,
        takedowns: WatchedFile[Takedowns] | None = None,
        missing: MissingScore = "auto",
        max_age_ms: int | None = None,
    ) -> PopularMedia:
        """Orders by recent positive actions per impression, smoothed to the base rate; leaves out what may not be recommended."""
        positive = [int(action) for action in sorted(POSITIVE_ACTIONS)]
        done_M = items.recent_counts_MA[:, positive].sum(axis=1)
        prior = float(items.base_rate_A[positive].sum()) * _PRIOR_IMPRESSIONS
        rate_M = (done_M + prior) / (items.recent_counts_MA[:, Action.IMPRESSION] + _PRIOR_IMPRESSIONS)
        score_M = items.non_recommendable_M
        allowed_M = recommendable(score_M, threshold, allows_missing(missing, has_scores(score_M)))
        # Which flags an installation allows is known to sourcing only, so none is allowed here.
        eligible_M = allowed_M & (items.policy_flags_M == 0) & (items.created_at_ms_M <= items.as_of_ms)
        if max_age_ms is not None:  # what is too old when the log ends stays so
            eligible_M &= items.created_at_ms_M >= items.as_of_ms - max_age_ms
        order = np.flatnonzero(eligible_M)[np.argsort(-rate_M[eligible_M], kind="stable")][:POPULAR_LENGTH]
        return cls(items, items.media_id_M[order], items.account_id_U[items.author_row_M[order]], takedowns, max_age_ms)

    def candidates(self, contexts: UserContexts, seen_S: Int64, count: int) -> CandidateColumns:
        """The best `count` for one user, unscored: nothing seen, taken down or too old, nor of the user or of unwanted accounts."""
        refused_P = np.isin(self.media_id_P, seen_S) | np.isin(self.author_id_P, self._unwanted_accounts(contexts))
        if self.takedowns is not None:
            gone = self.takedowns.value()
            refused_P |= np.isin(self.media_id_P, gone.media_ids) | np.isin(self.author_id_P, gone.account_ids)
        if self.max_age_ms is not None:
            created_P = self.items.created_at_ms_M[self.items.rows(self.media_id_P)]
            refused_P |= created_P < contexts.request_time_ms_B[0] - self.max_age_ms
        row_N = np.flatnonzero(~refused_P)[:count]
        return CandidateColumns(
            offsets=np.array([0, len(row_N)], dtype=np.int64),
            media_id_N=self.media_id_P[row_N],
            author_id_N=self.author_id_P[row_N],
            seed_account_id_N=np.zeros(len(row_N), dtype=np.int64),
            source_index_N=np.zeros(len(row_N), dtype=np.uint8),
            score_N=np.full(len(row_N), np.nan, dtype=np.float32),
            sources=(POPULAR_SOURCE,),
        )

    def _unwanted_accounts(self, contexts: UserContexts) -> Int64:
        """Accounts whose media one user must not get: the user's own, and those muted, blocked, or lately hidden or reported."""
        related_R = np.isin(contexts.relation_kind_R, _UNWANTED)
        negative_H = np.isin(contexts.history_action_H, sorted(NEGATIVE_ACTIONS))
        row_X = self.items.rows(contexts.history_media_id_H[negative_H])
        hidden_X = self.items.account_id_U[self.items.author_row_M[row_X[row_X != UNKNOWN_ROW]]]
        own = contexts.account_id_B[contexts.account_id_B != NO_ACCOUNT]
        return np.concatenate([contexts.relation_account_id_R[related_R], hidden_X, own])
