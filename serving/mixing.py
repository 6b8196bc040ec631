"""From several ranked lists to one per user: shares by weight, shares that others fill, and an order.

Knows users, lists and media rows as numbers only.
Shapes: B users, S lists, P rows of all lists, N mixed rows of all users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.ragged import Int64, largest_remainder, rank_within

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Leaf = TypeVar("Leaf")


@dataclass(frozen=True)
class Dealt:
    """`row_N` are places among the rows, best first within a user; the masks say what became of the others."""

    row_N: Int64
    score_N: Float64  # in (0, 1), never rising within a user
    duplicate_P: Bool
    over_quota_P: Bool
    take_BS: Int64
    available_BS: Int64


def deal(
    user_P: Int64,
    list_P: Int64,
    media_row_P: Int64,
    count_B: Int64,
    weight_S: Float64,
    share: Callable[[Int64], Int64],
) -> Dealt:
    """Up to `count_B` distinct media per user. Rows are grouped by user, then list, best first within a list.

    A media item that several lists have belongs to the one whose turn would come first (place / weight). `share` says how many
    rows each list gives, of those available. In the mixed list, the rows of every list are spread evenly from top to end: place k
    of n scores 1 - (k + 1/2) / n; equal scores go to the heavier list, then to the earlier one.
    """
    users, lists = len(count_B), len(weight_S)
    group_P = user_P * lists + list_P
    duplicate_P = _later_claims(user_P, list_P, media_row_P, rank_within(group_P) / weight_S[list_P])
    row_Q = np.flatnonzero(~duplicate_P)
    place_Q = rank_within(group_P[row_Q])
    available_BS = np.bincount(group_P[row_Q], minlength=users * lists).reshape(users, lists)
    take_BS = share(available_BS)
    take_G = take_BS.ravel()
    taken_Q = place_Q < take_G[group_P[row_Q]]
    row_N = row_Q[taken_Q]
    depth_N = (place_Q[taken_Q] + 0.5) / take_G[group_P[row_N]]
    heavier_first_S = np.argsort(np.argsort(-weight_S, kind="stable"), kind="stable")
    order_N = np.lexsort((heavier_first_S[list_P[row_N]], depth_N, user_P[row_N]))
    over_quota_P = np.zeros(len(user_P), dtype=np.bool_)
    over_quota_P[row_Q[~taken_Q]] = True
    return Dealt(row_N[order_N], 1 - depth_N[order_N], duplicate_P, over_quota_P, take_BS, available_BS)


def shares(count_B: Int64, weight_S: Float64, available_BS: Int64) -> Int64:
    """How many rows each list gives [B, S]: by weight, never more than available, the rest shared out again by weight."""
    take_BS = np.zeros_like(available_BS)
    for _ in range(len(weight_S)):  # every turn either deals everything out or empties a list
        missing_B = count_B - take_BS.sum(axis=1)
        can_give_BS = available_BS > take_BS
        if not np.any((missing_B > 0) & can_give_BS.any(axis=1)):
            break
        take_BS = np.minimum(take_BS + largest_remainder(missing_B, weight_S * can_give_BS), available_BS)
    return take_BS


@dataclass(frozen=True)
class Portions(Generic[Leaf]):
    """A mix of lists that may be mixes themselves. `weight` is the share of the whole."""

    weight: float
    leaf: Leaf
    parts: tuple[Portions[Leaf], ...] = ()  # empty: a list that is no mix

    def leaves(self) -> list[tuple[Leaf, float]]:
        """Every list and its share of the whole."""
        if not self.parts:
            return [(self.leaf, self.weight)]
        return [leaf for part in self.parts for leaf in part.leaves()]

    def shares(self, total_B: Int64, available_BS: Int64) -> Int64:
        """How many rows each leaf gives [B, S]: by weight at every level, the rest shared out again inside the level."""
        if not self.parts:
            return np.minimum(total_B[:, None], available_BS)
        ends = np.cumsum([0, *(len(part.leaves()) for part in self.parts)])
        below = [available_BS[:, ends[i] : ends[i + 1]] for i in range(len(self.parts))]
        weights = np.array([part.weight for part in self.parts])
        take_BP = shares(total_B, weights, np.stack([each.sum(axis=1) for each in below], axis=1))
        return np.concatenate([part.shares(take_BP[:, i], below[i]) for i, part in enumerate(self.parts)], axis=1)


def _later_claims(user_P: Int64, list_P: Int64, media_row_P: Int64, turn_P: Float64) -> Bool:
    """All but the first claim on each user's media item, by turn, then by list."""
    later_P = np.zeros(len(user_P), dtype=np.bool_)
    key_P = user_P * (int(media_row_P.max(initial=0)) + 1) + media_row_P
    order_P = np.argsort(key_P)
    again = (key_P[order_P[1:]] == key_P[order_P[:-1]]).nonzero()[0]
    # Few media have several claims, and only those need to be put in order.
    claimed_P = np.zeros(len(key_P), dtype=np.bool_)
    claimed_P[again] = claimed_P[again + 1] = True
    claim_X = order_P[claimed_P]
    claim_X = claim_X[np.lexsort((list_P[claim_X], turn_P[claim_X], key_P[claim_X]))]
    later_P[claim_X[1:][key_P[claim_X[1:]] == key_P[claim_X[:-1]]]] = True
    return later_P
