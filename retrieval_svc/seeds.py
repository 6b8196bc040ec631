"""Which accounts and topics a user's history points at. Reads the joined history; proposes nothing.

Shapes: B users, L history slots, S seed accounts of all users, T topics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS, NEGATIVE_ACTIONS
from features.history import History
from retrieval_svc.columns import Accounts, Float64
from retrieval_svc.ragged import Int64, contains, rank_within

_IS_NEGATIVE_A = np.isin(np.arange(N_ACTIONS), list(NEGATIVE_ACTIONS))


def recent_accounts(history: History, accounts: int, max_accounts: int, wanted_B: NDArray[np.bool_]) -> Accounts:
    """Up to `max_accounts` distinct authors of the newest positive actions of the `wanted_B` users, newest first.

    The score is the square root of the account's share of the user's strongest account, in (0, 1]: a like of last week still leads
    somewhere, but less far than one of today. Authors of media that the user hid or reported lead nowhere. `accounts` is U.
    """
    newest_first_BL = history.weight_BL[:, ::-1]
    user_X, slot_X = np.nonzero((newest_first_BL > 0) & wanted_B[:, None])
    key_X = user_X * accounts + history.author_BL[:, ::-1][user_X, slot_X]
    key_G, first_G, place_X = np.unique(key_X, return_index=True, return_inverse=True)
    weight_G = np.bincount(place_X, weights=newest_first_BL[user_X, slot_X], minlength=len(key_G))
    kept_G = np.flatnonzero(~contains(hidden_accounts(history, accounts), key_G))
    kept_G = kept_G[np.argsort(first_G[kept_G], kind="stable")]  # rows of np.nonzero go by user, then newest first
    kept_G = kept_G[rank_within(key_G[kept_G] // accounts) < max_accounts]
    user_S, row_S = np.divmod(key_G[kept_G], accounts)
    strongest_B = np.zeros(len(wanted_B))
    np.maximum.at(strongest_B, user_S, weight_G[kept_G])
    return Accounts(user_S, row_S, row_S, np.sqrt(weight_G[kept_G] / strongest_B[user_S]))


def hidden_accounts(history: History, accounts: int) -> Int64:
    """Sorted keys `user * U + account row` of the authors whose media a user hid or reported. `accounts` is U."""
    hidden_BL = _IS_NEGATIVE_A[history.action_BL] & (history.author_BL >= 0)
    user_X, slot_X = np.nonzero(hidden_BL)
    return np.unique(user_X * accounts + history.author_BL[user_X, slot_X])


def topic_weights(history: History, topics: int) -> Float64:
    """How much each user's recent actions speak for each topic, never below 0; negative ones speak against it. Shape [B, T]."""
    users = len(history.weight_BL)
    user_X, slot_X = np.nonzero(history.topic_BL >= 0)
    cell_X = user_X * topics + history.topic_BL[user_X, slot_X]
    total = np.bincount(cell_X, weights=history.weight_BL[user_X, slot_X], minlength=users * topics)
    return np.maximum(total.reshape(users, topics), 0.0)
