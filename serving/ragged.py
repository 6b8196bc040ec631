"""Arithmetic on columns of many users at once: groups that lie one after the other, cut by offsets. Knows no media and no user.

Shapes: B users, P rows of all users, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_SIEVE_BITS = 16  # 64 KiB, which a core keeps at hand; of ids that a set of 2,000 does not hold, 3 % need a search
_UNSIEVED = 64  # ids that a search finds as fast as a sieve
_FEW = 256  # rows of all sets that a search beats marks for, which take memory as large as the table


def offsets_of(user_P: Int64, users: int) -> Int64:
    """Offsets [B + 1] of rows that are grouped by user."""
    offsets = np.zeros(users + 1, dtype=np.int64)
    np.cumsum(np.bincount(user_P, minlength=users), out=offsets[1:])
    return offsets


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
    place_P = np.arange(len(group_P))
    start_G = (group_P[1:] != group_P[:-1]).nonzero()[0] + 1  # of all groups but the first
    if len(start_G) == 0:
        return place_P
    before_P = np.zeros(len(group_P), dtype=np.int64)
    before_P[start_G] = start_G
    return place_P - np.maximum.accumulate(before_P)


def best_first(score_P: Float64, offsets: Int64) -> Int64:
    """Order of the rows by falling score inside every group; equal scores keep their order. Shape [P].

    Score (as float32) and place are packed into one integer, which numpy sorts several times as fast as it sorts places by a float
    key. Groups in which float32 could not tell scores apart are sorted again.
    """
    bits_P = (score_P.astype(np.float32) + np.float32(0)).view(np.uint32)  # adding 0 turns -0.0 into 0.0
    rising_P = np.where(bits_P >> 31 == 1, ~bits_P, bits_P | np.uint32(1 << 31))
    order_P = _sorted_places(~rising_P, offsets)
    sorted_P = score_P[order_P]
    rises_P = sorted_P[1:] > sorted_P[:-1]
    start_G = offsets[1:-1]
    rises_P[start_G[(start_G > 0) & (start_G < len(score_P))] - 1] = False  # between two groups scores may rise
    wrong = np.flatnonzero(rises_P) + 1
    if len(wrong) == 0:
        return order_P
    for group in np.unique(np.searchsorted(offsets, wrong, side="right") - 1).tolist():
        start, end = offsets[group : group + 2].tolist()
        order_P[start:end] = start + np.argsort(-score_P[start:end], kind="stable")
    return order_P


def stable_order(key_P: Int64) -> Int64:
    """Order of the rows by rising key, equal ones as they come: a stable argsort in a fraction of its time. Shape [P].

    Keys are not negative. Key and place are packed into one integer, which numpy sorts several times as fast.
    """
    bits = len(key_P).bit_length()
    if len(key_P) == 0 or int(key_P.max()) >> (63 - bits):
        return np.argsort(key_P, kind="stable")
    packed_P = key_P << bits
    packed_P |= np.arange(len(key_P))
    packed_P.sort()
    packed_P &= (1 << bits) - 1
    return packed_P


def first_places(key_P: Int64) -> Int64:
    """Places of the rows whose key no row before them has, in order. Keys are not negative. Shape [G]."""
    order_P = stable_order(key_P)
    sorted_P = key_P[order_P]
    first_G = order_P[np.concatenate([np.ones(min(len(key_P), 1), np.bool_), sorted_P[1:] != sorted_P[:-1]])]
    first_G.sort()
    return first_G


def lowest_first(key_P: NDArray[np.uint64], offsets: Int64) -> Int64:
    """Order of the rows by the upper half of their keys inside every group; equal ones keep their order. Shape [P]."""
    return _sorted_places((key_P >> np.uint64(32)).astype(np.uint32), offsets)


def _sorted_places(key_P: NDArray[np.uint32], offsets: Int64) -> Int64:
    packed_P = key_P.astype(np.uint64) << np.uint64(32) | np.arange(len(key_P), dtype=np.uint64)
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        packed_P[start:end].sort()
    return (packed_P & np.uint64(0xFFFFFFFF)).astype(np.int64)


@dataclass(frozen=True)
class Sets:
    """One set of rows per user, out of `size` rows."""

    offsets: Int64  # B + 1
    row_X: Int64  # in the order in which they were given
    size: int

    @classmethod
    def of(cls, user_X: Int64, row_X: Int64, users: int, size: int) -> Sets:
        """The sets of pairs that are grouped by user; rows below 0 (unknown) are left out."""
        known = np.flatnonzero(row_X >= 0)
        return cls(offsets_of(user_X[known], users), row_X[known], size)

    def contains(self, user_P: Int64, row_P: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each row is in its user's set. `user_P` rises. Shape [P]."""
        found_P = np.zeros(len(row_P), dtype=np.bool_)
        if len(self.row_X) == 0 or len(row_P) == 0:
            return found_P
        if len(self.row_X) <= _FEW:
            return contains(self._sorted_keys, user_P * self.size + row_P)
        # Marks beat a search by far.
        mark = np.zeros(self.size, dtype=np.bool_)
        ends = np.searchsorted(user_P, np.arange(len(self.offsets)))
        for user in np.flatnonzero((np.diff(ends) > 0) & (np.diff(self.offsets) > 0)).tolist():
            mine = self.row_X[self.offsets[user] : self.offsets[user + 1]]
            mark[mine] = True
            found_P[ends[user] : ends[user + 1]] = mark[row_P[ends[user] : ends[user + 1]]]
            mark[mine] = False
        return found_P

    def keys(self, user_P: Int64, row_P: Int64) -> Int64:
        """One number for each pair of a user and a row. Shape [P]."""
        return user_P * self.size + row_P

    @property
    def keys_X(self) -> Int64:
        """Those of the pairs that are in the sets."""
        return self.keys(owners(self.offsets), self.row_X)

    @cached_property
    def _sorted_keys(self) -> Int64:
        return np.sort(self.keys_X)


@dataclass(frozen=True)
class IdSet:
    """Any ids. Most that are asked for are not in it, which a sieve of one byte per hash tells without a search.

    A few ids have none: they are searched as fast.
    """

    sorted_ids: Int64
    sieve: NDArray[np.bool_] | None

    @classmethod
    def of(cls, ids: Int64) -> IdSet:
        if len(ids) <= _UNSIEVED:
            return cls(np.sort(ids), None)
        sieve = np.zeros(1 << _SIEVE_BITS, dtype=np.bool_)
        sieve[_hashed(ids)] = True
        return cls(np.sort(ids), sieve)

    def contains(self, id_P: Int64) -> NDArray[np.bool_]:
        """Whether each id is in the set. Shape [P]."""
        if self.sieve is None:
            return contains(self.sorted_ids, id_P)
        found_P = self.sieve[_hashed(id_P)]
        maybe = found_P.nonzero()[0]
        found_P[maybe] = contains(self.sorted_ids, id_P[maybe])
        return found_P


def _hashed(id_P: Int64) -> NDArray[np.uint64]:
    """Multiplicative hashing: ids often differ in some of their bits only."""
    hash_P = id_P.astype(np.int64, copy=False).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hash_P >>= np.uint64(64 - _SIEVE_BITS)
    return hash_P


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
