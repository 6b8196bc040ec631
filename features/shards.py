"""Which shard an account, and with it everything that it posts, belongs to. The same in every process, release and language.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over the account id as an unsigned 64-bit number, all
arithmetic modulo 2^64:

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    x =  x ^ (x >> 31)
    shard = x mod count            of 4 shards, account 1 belongs to shard 1, 2 to 2, 3 to 0, 1000 to 3

Shapes: U accounts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

MAX_SHARDS = 1024


@dataclass(frozen=True)
class Shard:
    """Number `index` of `count` parts of all accounts. ValueError unless 0 <= index < count <= MAX_SHARDS."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count <= MAX_SHARDS:
            raise ValueError(
                f"there is no shard {self.index} of {self.count}; of n <= {MAX_SHARDS} shards the numbers are 0 .. n - 1"
            )

    def __str__(self) -> str:
        return f"shard {self.index} of {self.count}"

    def owns(self, account_id_U: Int64) -> NDArray[np.bool_]:
        """Whether each account belongs to this shard. Shape [U]."""
        return shard_of(account_id_U, self.count) == self.index


WHOLE = Shard(0, 1)


def shard_of(account_id_U: Int64, count: int) -> Int64:
    """The number of the shard of every account, 0 .. count - 1. Shape [U]."""
    x_U = account_id_U.astype(np.uint64)
    x_U = (x_U ^ (x_U >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_U = (x_U ^ (x_U >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x_U ^ (x_U >> np.uint64(31))) % np.uint64(count)).astype(np.int64)
