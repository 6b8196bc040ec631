"""From accounts to other accounts, and to media.

Shapes: S accounts of all users, k neighbours of one, X rows of all users.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval_svc.flow import Flow
from retrieval_svc.igql.arguments import COUNT, EMBEDDING, arg
from retrieval_svc.igql.operator import Operator, Run, operator
from retrieval_svc.igql.stages import Stage
from retrieval_svc.neighbours import NO_NEIGHBOUR
from retrieval_svc.tables import Lists
from serving.ragged import Int64, best_first, contains, first_places, offsets_of, rank_within

_LONGER_THAN_LISTS = 1 << 30


@operator("account_nn", (Stage.ACCOUNTS,), Stage.ACCOUNTS)
class AccountNn(Operator):
    """Accounts whose ig2vec embeddings are closest, each once, from the account that it is closest to.

    The score is the cosine times the score of the account it came from. Accounts that the user started from, and avoided ones, are
    left out.
    """

    embedding_config: str = arg(EMBEDDING, "which account embedding", "default")
    max_num_to_retrieve: int = arg(COUNT, "neighbours per account", 20)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        flow, catalogue = _by_seed(flow), run.audience.catalogue
        # Room is made for as many as are asked for, for every account.
        most = min(self.max_num_to_retrieve, len(catalogue.items.account_id_U))
        near_Sk, cosine_Sk = catalogue.accounts.neighbours(flow.row_P, most)
        from_X = np.repeat(np.arange(len(flow)), near_Sk.shape[1])
        near_X, score_X = near_Sk.ravel(), cosine_Sk.ravel() * flow.score_P[from_X]
        found = np.flatnonzero((near_X != NO_NEIGHBOUR) & (score_X > 0))
        return _new_accounts(run, flow, from_X[found], near_X[found], score_X[found])


@operator("followed", (Stage.ACCOUNTS,), Stage.ACCOUNTS)
class FollowedBy(Operator):
    """Accounts that the owners of those accounts follow, each once: the second hop of the social graph."""

    max_num_to_retrieve: int = arg(COUNT, "how many per account", 10)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        flow, follows = _by_seed(flow), run.audience.catalogue.tables.follows
        place_X, take_S = follows.of(flow.row_P, self.max_num_to_retrieve)
        from_X = np.repeat(np.arange(len(flow)), take_S)
        row_X = follows.row_X[place_X].astype(np.int64)
        return _new_accounts(run, flow, from_X, row_X, flow.score_P[from_X])


@operator("posted_media", (Stage.ACCOUNTS,), Stage.MEDIA)
class PostedMedia(Operator):
    """What those accounts posted, the best of each account first. The score is the account's."""

    max_media_per_account: int = arg(COUNT, "how many per account", 10)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        orders = run.audience.catalogue.orders
        return _listed(run, flow, Lists(orders.posted_offsets, orders.posted_row_M), self.max_media_per_account)


@operator("engaged_media", (Stage.ACCOUNTS,), Stage.MEDIA)
class EngagedMedia(Operator):
    """What the owners of those accounts lately liked, each media item once. The score is the account's."""

    max_media_per_account: int = arg(COUNT, "how many per account", 10)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        rows = _listed(run, flow, run.audience.catalogue.tables.engaged, self.max_media_per_account)
        return rows.pick(first_places(_pairs(rows.user_P, rows.row_P)))


def _listed(run: Run, flow: Flow, lists: Lists, most: int) -> Flow:
    """The first `most` media of each account's list, one account after the other."""
    found_X, take_S = lists.of(flow.row_P, most)
    from_X = np.repeat(np.arange(len(flow)), take_S)
    rows = replace(flow.pick(from_X), row_P=lists.row_X[found_X].astype(np.int64), dropped={})
    if not run.keyed:
        return rows
    # Every shard has the same accounts in the same order.
    return replace(rows, key_P=rank_within(flow.user_P)[from_X] + lists.places(found_X, take_S) / _LONGER_THAN_LISTS)


def _by_seed(flow: Flow) -> Flow:
    """Accounts by the seed that led to them: what is found from accounts in this order needs to be sorted by score only."""
    return flow.pick(np.lexsort((flow.seed_row_P, flow.user_P)))


def _new_accounts(run: Run, flow: Flow, from_X: Int64, row_X: Int64, score_X: np.ndarray) -> Flow:
    """Accounts found from those of `flow`, best first within a user, each once, without those that the user started from.

    `flow` is by seed and `from_X` rises; of equal scores the one of the lower seed comes first.
    """
    accounts = len(run.audience.catalogue.items.account_id_U)
    user_X = flow.user_P[from_X]
    known_S = np.sort(np.concatenate([flow.user_P * accounts + row for row in (flow.row_P, flow.seed_row_P)]))
    new_X = np.flatnonzero(~contains(known_S, user_X * accounts + row_X))
    user_X, row_X, from_X, score_X = user_X[new_X], row_X[new_X], from_X[new_X], score_X[new_X]
    order_X = best_first(score_X, offsets_of(user_X, flow.users))
    order_X = order_X[first_places(_pairs(user_X[order_X], row_X[order_X]))]
    order_X = order_X[~run.audience.avoided(user_X[order_X], row_X[order_X])]
    return replace(flow.pick(from_X[order_X]), row_P=row_X[order_X], score_P=score_X[order_X])


def _pairs(user_X: Int64, row_X: Int64) -> Int64:
    """One number for each pair of a user and a row."""
    return user_X * (int(row_X.max(initial=0)) + 1) + row_X
