"""Which of a user's actions were on something that a candidate has too: the same author, the same topic.

Sums over the matching actions of a history are computed once for all candidates of a user that share the same thing, and once for
those that share nothing: 4,000 candidates of 8 users have some hundred different sums.

Shapes: B users, N candidates of all users, L history slots, G groups of candidates with the same matches, X for anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

_MANY = 64  # candidates per user from which on groups pay: a history of 50 slots makes nearly as many


@dataclass(frozen=True)
class Matches:
    """`match_GL`: which slots of its user's history each group matches."""

    match_GL: Bool
    user_G: Int64
    group_N: Int64 | None  # None: every candidate is a group of its own

    @classmethod
    def of(cls, value_BL: Int64, value_N: Int64, user_N: Int64, values: int) -> Matches:
        """Slots and candidates that have the same value of 0 .. `values` - 1; -1 is unknown, and matches nothing."""
        users = len(value_BL)
        if len(value_N) <= _MANY * users:
            return cls(_equal(value_BL, value_N, user_N), user_N, None)
        # Groups: the values of each user's history, then, per user, what the history does not have.
        key_X = np.sort((value_BL + 1 + (values + 1) * np.arange(users)[:, None]).ravel())
        key_K = key_X[np.concatenate([[True], key_X[1:] != key_X[:-1]])]
        key_N = user_N * (values + 1) + value_N + 1
        place_N = np.minimum(key_K.searchsorted(key_N), len(key_K) - 1)
        group_N = np.where(key_K[place_N] == key_N, place_N, len(key_K) + user_N)
        user_G = np.concatenate([key_K // (values + 1), np.arange(users)])
        value_G = np.concatenate([key_K % (values + 1) - 1, np.full(users, -1)])
        return cls(_equal(value_BL, value_G, user_G), user_G, group_N)

    def of_user(self, value_BX: NDArray[Any]) -> NDArray[Any]:
        """What a user has, for each of the user's groups [G, X], or [1, X] where all have the same one: numpy repeats it."""
        return value_BX if len(value_BX) == 1 else value_BX[self.user_G]

    def summed(self, weight_BL: Float32) -> Float32:
        """The sum of the weights of matching slots; of the newest slots where weights are given for those only. Shape [G]."""
        match_GL = self.match_GL[:, self.match_GL.shape[1] - weight_BL.shape[1] :]
        return np.asarray((self.of_user(weight_BL) * match_GL).sum(axis=1), dtype=np.float32)

    def of_candidates(self, value_G: NDArray[Any]) -> NDArray[Any]:
        """What is known of groups, for every candidate. Shape [N]."""
        return value_G if self.group_N is None else value_G[self.group_N]


def _equal(value_BL: Int64, value_X: Int64, user_X: Int64) -> Bool:
    slot_value_XL = value_BL if len(value_BL) == 1 else value_BL[user_X]
    return (slot_value_XL == value_X[:, None]) & (value_X >= 0)[:, None]
