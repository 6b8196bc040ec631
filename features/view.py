"""One batch of candidates seen from their users: the gathered columns that feature functions read.

Shapes: B users, N candidates of all users, L history slots, A action codes. `user_N` says which user a candidate belongs to.
Everything is computed on first use and kept, so that a stage pays only for the features that it consumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.context import HISTORY_LENGTH, UserContexts
from features.counters import DAY_MS
from features.history import History, join_history
from features.item_table import MAX_SURFACES, UNKNOWN_ROW, ItemTable
from features.matches import Matches
from features.related import RelatedActions, related_actions

if TYPE_CHECKING:
    from features.item_features import ItemFeatures

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

PRIOR_IMPRESSIONS = 20.0  # an item's rates start at the base rate and are worth this many impressions
_MANY = 64  # candidates per user from which on users are taken one by one
_AT_ONCE = 512  # other candidates
INTENT_SLOTS = 10  # the newest actions, which tell what the user wants right now


class Users:
    """What candidates are seen from: the users of a batch, joined with the item table."""

    def __init__(self, contexts: UserContexts, items: ItemTable) -> None:
        self.contexts, self.items = contexts, items
        self.rates_B: dict[tuple[int, ...], Float32] = {}  # by actions: several features start from the same one

    @cached_property
    def history(self) -> History:
        return join_history(self.contexts, self.items)

    @cached_property
    def counts_BA(self) -> Float32:
        return self.contexts.action_counts_BA.astype(np.float32)

    @cached_property
    def on_surface_BS(self) -> Float32:
        """Whether the page is shown on each of the MAX_SURFACES surfaces, by number; NaN where the table does not know it."""
        place = {name: number for number, name in enumerate(self.items.surfaces)}
        surface_B = np.array([place.get(name, -1) for name in self.contexts.surfaces], dtype=np.int64)[:, None]
        return np.where(surface_B >= 0, surface_B == np.arange(MAX_SURFACES), np.nan).astype(np.float32)

    def alone(self) -> View:
        """One candidate each, for features that do not depend on it. Not kept: a cycle would outlive the request."""
        users = len(self.contexts)
        nothing_B = np.zeros(users, dtype=np.int64)
        return View(self, nothing_B, np.arange(users), np.full(users, np.nan, dtype=np.float32))


class View:
    """N candidates of B users. `row_N` are rows of `items`, all known; `position_N` is NaN when no position is assumed."""

    def __init__(
        self,
        users: Users,
        row_N: Int64,
        user_N: Int64,
        position_N: Float32,
        item_features: ItemFeatures | None = None,
    ) -> None:
        self.users, self.row_N, self.user_N, self.position_N = users, row_N, user_N, position_N
        self.item_features = item_features  # looked up instead of computed, where there are any
        self.contexts, self.items = users.contexts, users.items

    # -- columns of the candidates -------------------------------------------------------------------------------------------

    @cached_property
    def author_N(self) -> Int64:
        return self.items.author_row_M[self.row_N].astype(np.int64)

    @cached_property
    def topic_N(self) -> Int64:
        return self.items.topic_M[self.row_N].astype(np.int64)

    @cached_property
    def item_counts_NA(self) -> Float32:
        return self.items.counts_MA[self.row_N]

    @cached_property
    def recent_counts_NA(self) -> Float32:
        return self.items.recent_counts_MA[self.row_N]

    @cached_property
    def author_counts_NA(self) -> Float32:
        return self.items.account_counts_UA[self.author_N]

    @cached_property
    def author_recent_counts_NA(self) -> Float32:
        return self.items.account_recent_counts_UA[self.author_N]

    def smoothed_rate_N(self, counts_NA: Float32, *actions: int) -> Float32:
        """Actions per impression, pulled to the base rate where there are few impressions."""
        done_N = total(counts_NA, actions) + PRIOR_IMPRESSIONS * self.items.base_rate(actions)
        return (done_N / (counts_NA[:, 1] + PRIOR_IMPRESSIONS)).astype(np.float32)

    # -- columns of the users ------------------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        return self.users.history

    def of_user(self, value_B: NDArray[np.generic]) -> Float32:
        """Spreads a user column over the user's candidates. Shape [N]."""
        return value_B.astype(np.float32)[self.user_N]

    def spread(self, value_BX: NDArray[Any]) -> NDArray[Any]:
        """What a user has, for each of the user's candidates [N, X], or [1, X] where all have the same one: numpy repeats it."""
        return value_BX if len(value_BX) == 1 else value_BX[self.user_N]

    @cached_property
    def request_time_ms_N(self) -> Int64:
        return self.spread(self.contexts.request_time_ms_B)

    @cached_property
    def related(self) -> RelatedActions:
        return related_actions(self.contexts, self.items, self.row_N, self.user_N)

    # -- matches between a candidate and its user's history -------------------------------------------------------------------

    @cached_property
    def same_author(self) -> Matches:
        accounts = len(self.items.account_id_U)
        return Matches.of(self.history.author_BL, self.author_N, self.user_N, accounts)

    @cached_property
    def same_topic(self) -> Matches:
        # An unknown topic is no topic that two items could share.
        return Matches.of(self.history.topic_BL, self.topic_N, self.user_N, len(self.items.topics))

    @cached_property
    def liked_weight_BL(self) -> Float32:
        return np.maximum(self.history.weight_BL, 0)

    @cached_property
    def disliked_weight_BL(self) -> Float32:
        return np.maximum(-self.history.weight_BL, 0)

    @cached_property
    def user_has_history_B(self) -> NDArray[np.bool_]:
        """Whether anything is known about what the user acted on: media that the table lacks have neither author nor topic."""
        return (self.history.row_BL != UNKNOWN_ROW).any(axis=1)

    def matched_weight_N(self, matches: Matches, weight_BL: Float32) -> Float32:
        """The weight of the matching actions; NaN for users without history."""
        known_G = matches.of_user(self.user_has_history_B)
        return matches.of_candidates(np.where(known_G, matches.summed(weight_BL), np.nan).astype(np.float32))

    def share_N(self, matches: Matches, slots: int = HISTORY_LENGTH) -> Float32:
        """Share of the liked weight of the newest `slots` that matches; NaN for users without any."""
        weight_BL = self.liked_weight_BL[:, -slots:]
        total_G = matches.of_user(weight_BL.sum(axis=1))
        share_G = matches.summed(weight_BL) / np.where(total_G > 0, total_G, 1)
        return matches.of_candidates(np.where(total_G > 0, share_G, np.nan).astype(np.float32))

    # -- vectors -------------------------------------------------------------------------------------------------------------

    @cached_property
    def media_affinity_N(self) -> Float32:
        return self._affinity(self.history.media_taste_BD(self.items), self.items.media_vector_MD, self.row_N)

    @cached_property
    def account_affinity_N(self) -> Float32:
        return self._affinity(self.history.account_taste_BE(self.items), self.items.account_vector_UE, self.author_N)

    @cached_property
    def intent_affinity_N(self) -> Float32:
        """Highest similarity to one of the newest liked items: a mean hides that a user has several interests."""
        liked_BS = self.history.weight_BL[:, -INTENT_SLOTS:] > 0
        row_BS = np.where(liked_BS, self.history.row_BL[:, -INTENT_SLOTS:], 0)
        recent_BSD = self.items.media_vector_MD[row_BS]
        liked_BS &= recent_BSD.any(axis=2)
        intent_N = np.empty(len(self.row_N), dtype=np.float32)
        for part, user_X in self._parts:
            vector_XD = self.items.media_vector_MD[self.row_N[part]]
            close_XS = np.einsum("nd,nsd->ns", vector_XD, recent_BSD[user_X])
            best_X = np.where(liked_BS[user_X], close_XS, -np.inf).max(axis=1)
            intent_N[part] = np.where(np.isfinite(best_X) & is_known(vector_XD), best_X, np.nan)
        return intent_N

    def _affinity(self, taste_BV: Float32, vectors: Float32, row_N: Int64) -> Float32:
        """Similarity of two unit vectors; NaN where one of them is zero, which says "unknown", not "unlike"."""
        known_B, affinity_N = np.asarray(taste_BV.any(axis=1)), np.empty(len(row_N), dtype=np.float32)
        for part, user_X in self._parts:
            vector_XV = vectors[row_N[part]]
            dot_X = np.einsum("nv,nv->n", vector_XV, taste_BV[user_X])
            affinity_N[part] = np.where(known_B[user_X] & is_known(vector_XV), dot_X, np.nan)
        return affinity_N

    @cached_property
    def _parts(self) -> list[tuple[slice, slice | Int64]]:
        """Candidates some at a time, so that their vectors stay in the cache, and whose they are: one user's, or each its own.

        A slice of one user is repeated by numpy, where an index would copy the user's vectors for every candidate.
        """
        users, count = len(self.contexts), len(self.row_N)
        if users == 1:
            return [(slice(0, count), slice(0, 1))]
        if count > _MANY * users and not (self.user_N[1:] < self.user_N[:-1]).any():
            ends = self.user_N.searchsorted(np.arange(users + 1)).tolist()
            return [(slice(*ends[user : user + 2]), slice(user, user + 1)) for user in range(users)]
        starts = range(0, count, _AT_ONCE)
        return [(slice(start, start + _AT_ONCE), self.user_N[start : start + _AT_ONCE]) for start in starts]

    # -- time ----------------------------------------------------------------------------------------------------------------

    @cached_property
    def day_share_N(self) -> Float32:
        return ((self.request_time_ms_N % DAY_MS) / DAY_MS).astype(np.float32)


def is_known(vector_XV: Float32) -> NDArray[np.bool_]:
    """Whether each vector is another than zero. Nearly every one shows it by its first number, so few are read to the end."""
    if vector_XV.shape[1] == 0:
        return np.zeros(len(vector_XV), dtype=np.bool_)
    known_X = vector_XV[:, 0] != 0
    unclear_X = (~known_X).nonzero()[0]
    if len(unclear_X):
        known_X[unclear_X] = vector_XV[unclear_X].any(axis=1)
    return known_X


def total(counts_XA: Float32, actions: Sequence[int]) -> Float32:
    """How often any of the actions was done, [X]. Adds columns: for the few of them, that is faster than to pick and to sum."""
    first, *others = actions
    total_X = counts_XA[:, first]
    for action in others:
        total_X = total_X + counts_XA[:, action]
    return total_X
