"""Arithmetic on columns of many users at once: groups that lie one after the other, cut by offsets. Knows no media and no user.

Shapes: B users, P rows of all users, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


def offsets_of(user_P: Int64, users: int) -> Int64:
    """Offsets [B + 1] of rows that are grouped by user."""
    return np.concatenate([[0], np.cumsum(np.bincount(user_P, minlength=users))]).astype(np.int64)


def owners(offsets: Int64) -> Int64:
    """The user of every row. Shape [P]."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def ranges(start_G: Int64, length_G: Int64) -> Int64:
    """`start, start + 1, ...` of every group, one group after the other. Shape [sum of lengths]."""
    before_G = np.cumsum(length_G) - length_G
    return np.arange(int(length_G.sum())) + np.repeat(start_G - before_G, length_G)


def rank_within(group_P: Int64) -> Int64:
    """0-based place of every row inside its group; rows of a group must be neighbours. Shape [P]."""
    if len(group_P) == 0:
        return np.empty(0, dtype=np.int64)
    first_P = np.concatenate([[True], group_P[1:] != group_P[:-1]])
    start_G = np.flatnonzero(first_P)
    return np.arange(len(group_P)) - np.repeat(start_G, np.diff(np.append(start_G, len(group_P))))


def sum_before(value_P: Float64 | Int64, group_P: Int64) -> Float64 | Int64:
    """Sum of the values above every row inside its group; rows of a group must be neighbours. Shape [P]."""
    if len(group_P) == 0:
        return value_P
    running_P = np.cumsum(value_P) - value_P
    return running_P - running_P[np.arange(len(group_P)) - rank_within(group_P)]


def contains(sorted_keys: Int64, key_P: Int64) -> NDArray[np.bool_]:
    """Whether every key is among `sorted_keys`. Shape [P]."""
    if len(sorted_keys) == 0:
        return np.zeros(len(key_P), dtype=np.bool_)
    place_P = np.minimum(np.searchsorted(sorted_keys, key_P), len(sorted_keys) - 1)
    return sorted_keys[place_P] == key_P


def largest_remainder(total_B: Int64, weight_BS: Float64) -> Int64:
    """Shares [B, S] of `total_B` proportional to the weights, summing to it exactly; nothing where all weights are 0.

    Method of largest remainders (Hamilton); equal remainders go to the leftmost column.
    """
    sum_B1 = weight_BS.sum(axis=1, keepdims=True)
    exact_BS = total_B[:, None] * weight_BS / np.where(sum_B1 > 0, sum_B1, 1.0)
    # 0.35 * 500 is 175 plus float noise, and noise must not decide who gets the last seat.
    exact_BS = np.round(exact_BS, 9)
    share_BS = np.floor(exact_BS).astype(np.int64)
    left_B1 = np.where(sum_B1 > 0, total_B[:, None] - share_BS.sum(axis=1, keepdims=True), 0)
    order_BS = np.argsort(share_BS - exact_BS, axis=1, kind="stable")
    place_BS = np.argsort(order_BS, axis=1, kind="stable")
    return share_BS + (place_BS < left_B1)
