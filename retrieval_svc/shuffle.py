"""Random orders that can be computed again: they depend on the request and the rows only, never on a generator's state.

Shapes: P rows of all users.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from serving.ragged import Int64

_UInt64 = NDArray[np.uint64]


def random_keys(contexts: UserContexts, user_P: Int64, id_P: Int64, salt: int) -> _UInt64:
    """A pseudo-random number per row, of user id, request time, salt and row id: another order for every request. Shape [P]."""
    times = contexts.request_time_ms_B.tolist()
    seed_B = np.array(
        [_seed(user, time, salt) for user, time in zip(contexts.user_ids, times, strict=True)], dtype=np.uint64
    )
    return _mixed(id_P.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ seed_B[user_P])


def _seed(user_id: str, request_time_ms: int, salt: int) -> int:
    digest = hashlib.blake2b(f"{salt} {request_time_ms} {user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _mixed(x_P: _UInt64) -> _UInt64:
    """Finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x_P = (x_P ^ (x_P >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_P = (x_P ^ (x_P >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_P ^ (x_P >> np.uint64(31))
