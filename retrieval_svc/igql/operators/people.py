"""From a user to what the user acted on, and to accounts. Nothing here proposes media.

Shapes: B users, L history slots, X rows of all users.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS, POSITIVE_ACTIONS, Action
from retrieval_svc.flow import Float64, Flow, nothing, start
from retrieval_svc.igql.arguments import ACTION, ANY_ACTION, COUNT, DURATION, arg
from retrieval_svc.igql.operator import Operator, Run, operator
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64, rank_within

MAX_SEEDS = 30


@operator("liked", (Stage.USER,), Stage.ACTIONS)
class Liked(Operator):
    """Media that the user liked, newest first."""

    max_num_to_retrieve: int = arg(COUNT, "how many, at most", MAX_SEEDS)
    window: int | None = arg(DURATION, "only those of this long before the request", None)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _acted(run, frozenset({Action.LIKE}), self.window, self.max_num_to_retrieve, want_B)


@operator("saved", (Stage.USER,), Stage.ACTIONS)
class Saved(Operator):
    """Media that the user saved, newest first."""

    max_num_to_retrieve: int = arg(COUNT, "how many, at most", MAX_SEEDS)
    window: int | None = arg(DURATION, "only those of this long before the request", None)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _acted(run, frozenset({Action.SAVE}), self.window, self.max_num_to_retrieve, want_B)


@operator("interacted", (Stage.USER,), Stage.ACTIONS)
class Interacted(Operator):
    """Media that the user acted on in a way that speaks for them, newest first."""

    action: str = arg(ACTION, "one kind of action, or any", ANY_ACTION)
    window: int | None = arg(DURATION, "only those of this long before the request", None)
    max_num_to_retrieve: int = arg(COUNT, "how many, at most", MAX_SEEDS)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        actions = POSITIVE_ACTIONS if self.action == ANY_ACTION else frozenset({Action[self.action.upper()]})
        return _acted(run, actions, self.window, self.max_num_to_retrieve, want_B)


@operator("followed", (Stage.USER,), Stage.ACCOUNTS)
class Followed(Operator):
    """Accounts that the user follows, the latest first. Muted, blocked and hidden ones lead nowhere."""

    max_num_to_retrieve: int = arg(COUNT, "how many, at most", MAX_SEEDS)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        audience = run.audience
        sets = audience.followed
        size_B = np.diff(sets.offsets)
        user_X = np.repeat(np.arange(audience.users), size_B)
        back_X = np.repeat(sets.offsets[1:] - 1, size_B) - rank_within(user_X)  # the latest is stored last
        row_X = sets.row_X[back_X]
        kept = np.flatnonzero(~audience.avoided(user_X, row_X) & (want_B[user_X] > 0))
        kept = kept[rank_within(user_X[kept]) < self.max_num_to_retrieve]
        row_X = row_X[kept]
        return start(user_X[kept], row_X, row_X, np.ones(len(kept)), audience.users)


@operator("author", (Stage.ACTIONS,), Stage.ACCOUNTS)
class Author(Operator):
    """The authors of those media, each once. Implied where an operator wants accounts. Muted, blocked and hidden ones lead nowhere.

    An account scores the square root of its share of the user's strongest one, in (0, 1]: a like of last week still leads
    somewhere, but less far than one of today.
    """

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        audience, accounts = run.audience, len(run.audience.catalogue.items.account_id_U)
        key_X = flow.user_P * accounts + flow.seed_row_P
        key_G, first_G, group_X = np.unique(key_X, return_index=True, return_inverse=True)
        weight_G = np.bincount(group_X, weights=flow.score_P, minlength=len(key_G))
        # First come, first served; np.unique would sort by account.
        order_G = np.argsort(first_G, kind="stable")
        first_G, weight_G = first_G[order_G], weight_G[order_G]
        kept_G = ~audience.avoided(flow.user_P[first_G], flow.seed_row_P[first_G])
        first_G, weight_G = first_G[kept_G], weight_G[kept_G]
        rows = flow.pick(first_G)
        strongest_B = np.zeros(flow.users)
        np.maximum.at(strongest_B, rows.user_P, weight_G)
        score_G = np.sqrt(weight_G / strongest_B[rows.user_P])
        return Flow(
            rows.user_P, rows.seed_row_P, rows.seed_row_P, score_G, rows.source_P, rows.more_B, bound=rows.bound
        )


def _acted(run: Run, actions: frozenset[Action], window_ms: int | None, most: int, want_B: Int64) -> Flow:
    """The distinct media of the users' newest such actions. Score: how much the actions on it weigh today."""
    history = run.audience.history
    chosen_BL = _is_one_of(actions)[history.action_BL] & (history.weight_BL > 0) & (want_B > 0)[:, None]
    if window_ms is not None:
        chosen_BL &= history.age_ms_BL <= window_ms
    user_X, slot_X = np.nonzero(chosen_BL[:, ::-1])
    if len(user_X) == 0:
        return nothing(run.audience.users)
    slot_X = history.row_BL.shape[1] - 1 - slot_X
    row_X, weight_X = history.row_BL[user_X, slot_X], history.weight_BL[user_X, slot_X].astype(np.float64)
    _, first_G, group_X = np.unique(
        user_X * len(run.audience.catalogue.all_items.media_id_M) + row_X, return_index=True, return_inverse=True
    )
    weight_G: Float64 = np.bincount(group_X, weights=weight_X).astype(np.float64)
    order_G = np.argsort(first_G, kind="stable")
    first_G, weight_G = first_G[order_G], weight_G[order_G]
    kept_G = rank_within(user_X[first_G]) < most
    first_G, weight_G = first_G[kept_G], weight_G[kept_G]
    author_G = history.author_BL[user_X[first_G], slot_X[first_G]]
    return start(user_X[first_G], row_X[first_G], author_G, weight_G, run.audience.users)


@cache
def _is_one_of(actions: frozenset[Action]) -> NDArray[np.bool_]:
    return np.isin(np.arange(N_ACTIONS), list(actions))
