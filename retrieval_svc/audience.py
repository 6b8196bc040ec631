"""The users of one batch, joined with the catalogue: what operators and rules ask about them. Computed on first use.

Shapes: B users, P rows of all users, U accounts, M media, D media vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS, NEGATIVE_ACTIONS
from features.context import UserContexts
from features.history import History, join_history
from features.relations import Relation
from retrieval_svc.catalogue import Catalogue
from serving.ragged import IdSet, Int64, Sets, owners

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]

_IS_NEGATIVE_A = np.isin(np.arange(N_ACTIONS), list(NEGATIVE_ACTIONS))


@dataclass(frozen=True)
class Audience:
    """Who asks, what they have been shown, and how many candidates each wants."""

    contexts: UserContexts
    history: History
    catalogue: Catalogue
    seen_B: Sequence[Int64]  # media ids
    count_B: Int64

    @classmethod
    def of(cls, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, catalogue: Catalogue) -> Audience:
        """Joins the users with the catalogue. Raises ValueError for columns that do not fit the users."""
        if len(seen_B) != len(contexts) or len(count_B) != len(contexts):
            problem = f"{len(contexts)} users, but {len(seen_B)} lists of seen media and {len(count_B)} counts"
            raise ValueError(problem)
        return cls(contexts, join_history(contexts, catalogue.all_items), catalogue, seen_B, count_B)

    @property
    def users(self) -> int:
        return len(self.contexts)

    @cached_property
    def _seen_sets_B(self) -> Sequence[IdSet]:
        return [IdSet.of(seen) for seen in self.seen_B]

    def has_seen(self, user_P: Int64, media_row_P: Int64) -> Bool:
        """Whether each media item has been shown to its user. `user_P` rises.

        Looks the media up among the 2,000 that a user has seen, which stay in the cache, not those among all media.
        """
        found_P = np.zeros(len(user_P), dtype=np.bool_)
        ends = np.searchsorted(user_P, np.arange(self.users + 1))
        for user in np.flatnonzero(np.diff(ends)).tolist():
            mine = slice(ends[user], ends[user + 1])
            media_id_P = self.catalogue.items.media_id_M[media_row_P[mine]]
            found_P[mine] = self._seen_sets_B[user].contains(media_id_P)
        return found_P

    @cached_property
    def hidden(self) -> Sets:
        """Accounts of media that each user lately hid or reported."""
        negative_BL = _IS_NEGATIVE_A[self.history.action_BL] & (self.history.author_BL >= 0)
        user_X, slot_X = np.nonzero(negative_BL)
        return self._accounts(user_X, self.history.author_BL[user_X, slot_X])

    @cached_property
    def muted(self) -> Sets:
        return self._related(Relation.MUTED)

    @cached_property
    def blocked(self) -> Sets:
        return self._related(Relation.BLOCKED)

    @cached_property
    def followed(self) -> Sets:
        """Accounts that each user follows, the latest last."""
        return self._related(Relation.FOLLOWED)

    @cached_property
    def own_account_B(self) -> Int64:
        """Account row of every user who has one in the catalogue, -1 for the others."""
        return self.catalogue.items.account_rows(self.contexts.account_id_B)

    @cached_property
    def taste_BD(self) -> Float32:
        """The user tower of the two-tower model: what each user lately acted on. Unit length, or zero."""
        return self.history.media_taste_BD(self.catalogue.all_items)

    def authors(self, media_row_P: Int64) -> Int64:
        """The account row of every media item. Several rules ask in a row about the same proposals: the last answer is kept."""
        if not (self._last_authors and self._last_authors[0] is media_row_P):
            author_P = self.catalogue.items.author_row_M[media_row_P].astype(np.int64)
            self._last_authors[:] = [media_row_P, author_P]
        return self._last_authors[1]

    @cached_property
    def _last_authors(self) -> list[Int64]:
        return []

    def avoided(self, user_P: Int64, account_row_P: Int64) -> Bool:
        """Whether each account is hidden, muted or blocked by its user. `user_P` rises."""
        return self._avoided_accounts.contains(self.hidden.keys(user_P, account_row_P))

    def is_author_in(self, accounts: Sets, user_P: Int64, media_row_P: Int64) -> Bool:
        """Whether each media item's author is in its user's set of hidden, muted or blocked accounts. `user_P` rises.

        Hardly any is in one of them: all sets are asked at once, and each one only about those.
        """
        author_P = self.authors(media_row_P)
        last = self._last_suspects
        if not (last and last[0] is user_P and last[1] is author_P):
            last[:] = [user_P, author_P, self.avoided(user_P, author_P).nonzero()[0]]
        suspect_X = last[2]
        found_P = np.zeros(len(author_P), dtype=np.bool_)
        if len(suspect_X):
            found_P[suspect_X] = accounts.contains(user_P[suspect_X], author_P[suspect_X])
        return found_P

    @cached_property
    def _last_suspects(self) -> list[Int64]:
        return []

    @cached_property
    def _avoided_accounts(self) -> IdSet:
        return IdSet.of(np.concatenate([each.keys_X for each in (self.hidden, self.muted, self.blocked)]))

    def _related(self, relation: Relation) -> Sets:
        contexts = self.contexts
        chosen = np.flatnonzero(contexts.relation_kind_R == relation)
        row_X = self.catalogue.items.account_rows(contexts.relation_account_id_R[chosen])
        return self._accounts(owners(contexts.relation_offsets)[chosen], row_X)

    def _accounts(self, user_X: Int64, row_X: Int64) -> Sets:
        return Sets.of(user_X, row_X, self.users, len(self.catalogue.items.account_id_U))
