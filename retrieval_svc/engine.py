"""Sourcing for a batch of users: sources propose, rules refuse, mixing decides; until everybody has enough or nothing is left.

Knows no gRPC, no environment and no clock. Results of a user never depend on who else is in the batch.
Shapes: B users, S sources, P proposals of all users, Q eligible ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from features.actions import Action
from features.context import UserContexts
from features.user_state import EMPTY
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.eligibility import (
    ELIGIBLE,
    Audience,
    HiddenAuthor,
    NotRecommendable,
    NotYetPublished,
    Rule,
    Seen,
    judge,
)
from retrieval_svc.mixing import mix
from retrieval_svc.ragged import Int64, largest_remainder
from retrieval_svc.sourced import Pool, Round, Sourced, assemble
from retrieval_svc.sources import SOURCES, Source

_GROWTH = 4  # a source that did not bring enough eligible media is asked for this many times more
_LEAST = 16  # proposals asked for at least: a share of 0 must not silence the only source that could fill the page
DUPLICATE, OVER_QUOTA = "duplicate", "over_quota"


class RetrievalEngine:
    """Sources candidates from one catalogue. Safe to call from several threads."""

    def __init__(self, catalogue: Catalogue, config: SourcingConfig, sources: Sequence[Source] = SOURCES) -> None:
        self.catalogue = catalogue
        self._sources = _by_weight(config.source_weights, sources)
        self._weight_S = np.array([config.source_weights[source.name] for source in self._sources])
        self._over_propose = config.over_propose
        self._rules: tuple[Rule, ...] = (
            NotYetPublished(),
            NotRecommendable(config.non_recommendable_threshold, config.missing_integrity_score),
            HiddenAuthor(),
            Seen(),
        )
        self._reasons = (*(rule.reason for rule in self._rules), DUPLICATE, OVER_QUOTA)

    def retrieve(self, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64) -> Sourced:
        """`count_B` candidates for each of B users who have been shown `seen_B` (media ids); fewer only if no more are eligible."""
        users = len(contexts)
        if len(seen_B) != users or len(count_B) != users:
            raise ValueError(f"{users} users, but {len(seen_B)} lists of seen media and {len(count_B)} counts")
        audience = Audience.of(contexts, seen_B, self.catalogue)
        want_BS = self._first_wish(count_B)
        rounds: list[Round] = []
        while want_BS.any():
            done = self._round(audience, want_BS, count_B)
            rounds.append(done)
            want_BS = np.where(done.unfinished_B[:, None], want_BS * _GROWTH, 0)
        names = tuple(source.name for source in self._sources)
        return assemble(rounds, users, names, self._reasons, self.catalogue.items)

    def warm_up(self, accounts: int) -> None:
        """Looks up the neighbours of the accounts with most impressions, which most requests start from, and sources once."""
        items = self.catalogue.items
        shown_U = items.account_counts_UA[:, Action.IMPRESSION]
        self.catalogue.accounts.neighbours(np.argsort(-shown_U, kind="stable")[:accounts])
        nobody = EMPTY.context("warm-up", items.as_of_ms, "")
        self.retrieve(nobody, [np.empty(0, dtype=np.int64)], np.array([1]))

    def _first_wish(self, count_B: Int64) -> Int64:
        shares_BS = largest_remainder(count_B, np.broadcast_to(self._weight_S, (len(count_B), len(self._weight_S))))
        want_BS = np.maximum(np.ceil(shares_BS * self._over_propose).astype(np.int64), _LEAST)
        return np.where(count_B[:, None] > 0, want_BS, 0)

    def _round(self, audience: Audience, want_BS: Int64, count_B: Int64) -> Round:
        pool = self._propose(audience, want_BS)
        reason_P = judge(self._rules, audience, pool.user_P, pool.media_row_P)
        row_Q = np.flatnonzero(reason_P == ELIGIBLE)
        mixed = mix(pool.user_P[row_Q], pool.source_P[row_Q], pool.media_row_P[row_Q], count_B, self._weight_S)
        reason_P[row_Q[mixed.duplicate_P]] = self._reasons.index(DUPLICATE)
        reason_P[row_Q[mixed.over_quota_P]] = self._reasons.index(OVER_QUOTA)
        found_B = np.bincount(pool.user_P[row_Q[mixed.row_N]], minlength=len(count_B))
        # Too little, although a source delivered all that it was asked for and so may have more.
        unfinished_B = (found_B < count_B) & ((pool.proposed_BS >= want_BS) & (want_BS > 0)).any(axis=1)
        answered_B = want_BS.any(axis=1) & ~unfinished_B
        return Round(pool, reason_P, row_Q[mixed.row_N], mixed.score_N, answered_B, unfinished_B)

    def _propose(self, audience: Audience, want_BS: Int64) -> Pool:
        proposed = [
            source.propose(audience.contexts, audience.history, self.catalogue, want_BS[:, number])
            for number, source in enumerate(self._sources)
        ]
        user_P = np.concatenate([proposals.user_P for proposals in proposed])
        order_P = np.argsort(user_P, kind="stable")  # keeps sources, and the order within each, as they are
        lengths_S = [len(proposals.media_row_P) for proposals in proposed]
        return Pool(
            proposed_BS=np.stack([np.diff(proposals.offsets) for proposals in proposed], axis=1),
            user_P=user_P[order_P],
            source_P=np.repeat(np.arange(len(proposed)), lengths_S)[order_P],
            media_row_P=np.concatenate([proposals.media_row_P for proposals in proposed])[order_P],
            seed_account_id_P=np.concatenate([proposals.seed_account_id_P for proposals in proposed])[order_P],
        )


def _by_weight(weights: Mapping[str, float], sources: Sequence[Source]) -> tuple[Source, ...]:
    """The sources that weigh anything, heaviest first; equal weights in the order of `sources`."""
    used = [source for source in sources if weights.get(source.name, 0) > 0]
    return tuple(sorted(used, key=lambda source: -weights[source.name]))
