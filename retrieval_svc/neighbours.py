"""Nearest accounts of accounts: lists made at publish time, corrected by what was added and removed since.

Knows account rows and the vector index behind the lists; knows neither media nor users.

Shapes: S asked accounts, k neighbours, U accounts of the item table, K neighbours in a stored list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.vector_index import NO_ROW, Float32, Int64, Snapshot, VectorIndex

NEIGHBOURS = 20  # how many the sources ask for
NO_NEIGHBOUR = NO_ROW


class AccountNeighbours:
    """Reads `neighbour_row_UK` (best first, NO_NEIGHBOUR where there is none) and searches `index` only where a list ends early.

    The lists keep cosines as float16, so cosines have that precision on every path: an account's answer must not depend on
    whether it was read or searched for. Within a list the order is the one of the full cosines; what was added since comes
    after listed accounts of an equal cosine.
    """

    def __init__(
        self, neighbour_row_UK: NDArray[np.int32], neighbour_cosine_UK: NDArray[np.float16], index: VectorIndex
    ) -> None:
        if neighbour_row_UK.shape != neighbour_cosine_UK.shape:
            raise ValueError(f"{neighbour_row_UK.shape} neighbours have {neighbour_cosine_UK.shape} cosines")
        self._row_UK, self._cosine_UK, self._index = neighbour_row_UK, neighbour_cosine_UK, index

    @property
    def index(self) -> VectorIndex:
        """What is added to and removed from."""
        return self._index

    def neighbours(self, account_row_S: Int64, k: int = NEIGHBOURS) -> tuple[Int64, Float32]:
        """The `k` nearest other accounts of every account, nearest first, and their cosines. Shapes [S, k].

        Only positive cosines count. NO_NEIGHBOUR (cosine 0) fills up, everywhere for an account without a vector.
        """
        now = self._index.now
        near_Sk = np.full((len(account_row_S), k), NO_NEIGHBOUR, dtype=np.int64)
        cosine_Sk = np.zeros((len(account_row_S), k), dtype=np.float32)
        near_SK, cosine_SK, enough_S = self._read(account_row_S, k, now)
        read, rest = np.flatnonzero(enough_S), np.flatnonzero(~enough_S)
        near_SK, cosine_SK = near_SK[read], cosine_SK[read]
        if len(now.added_row_N):
            added_Sk, added_cosine_Sk = now.search_added(now.vectors_of(account_row_S[read]), k)
            near_SK, cosine_SK = np.hstack([near_SK, added_Sk]), np.hstack([cosine_SK, added_cosine_Sk])
        near_Sk[read], cosine_Sk[read] = _best(account_row_S[read], near_SK, cosine_SK, k)
        if len(rest):
            # One more than asked for: an account is its own nearest.
            found = now.search(now.vectors_of(account_row_S[rest]), k + 1)
            near_Sk[rest], cosine_Sk[rest] = _best(account_row_S[rest], *found, k)
        return near_Sk, cosine_Sk

    def _read(self, account_row_S: Int64, k: int, now: Snapshot) -> tuple[Int64, Float32, NDArray[np.bool_]]:
        """What the lists [S, K] say that is still so, and whether that is all it takes to know the k nearest in the table."""
        width = self._row_UK.shape[1]
        near_SK = np.full((len(account_row_S), width), NO_NEIGHBOUR, dtype=np.int64)
        cosine_SK = np.zeros((len(account_row_S), width), dtype=np.float32)
        listed_S = now.in_table(account_row_S) & (account_row_S < len(self._row_UK))
        near_SK[listed_S] = self._row_UK[account_row_S[listed_S]]
        cosine_SK[listed_S] = self._cosine_UK[account_row_S[listed_S]]
        # A list with room left names every neighbour there is; one that is full may go on beyond its end.
        full_S = ((near_SK != NO_NEIGHBOUR) & (cosine_SK > 0)).all(axis=1)
        near_SK[~now.in_table(near_SK)] = NO_NEIGHBOUR
        left_S = (near_SK != NO_NEIGHBOUR).sum(axis=1)
        return near_SK, cosine_SK, listed_S & (~full_S | (left_S >= k))


def _best(account_row_S: Int64, near_SX: Int64, cosine_SX: Float32, k: int) -> tuple[Int64, Float32]:
    """The k best [S, k] of candidates, each once and without the account itself. The left one of equal cosines comes first."""
    cosine_SX = cosine_SX.astype(np.float16).astype(np.float32)
    if (missing := k - near_SX.shape[1]) > 0:
        near_SX = np.pad(near_SX, ((0, 0), (0, missing)), constant_values=NO_NEIGHBOUR)
        cosine_SX = np.pad(cosine_SX, ((0, 0), (0, missing)))
    dropped_SX = (near_SX == NO_NEIGHBOUR) | (near_SX == account_row_S[:, None]) | (cosine_SX <= 0)
    order_Sk = np.argsort(np.where(dropped_SX, np.inf, -cosine_SX), axis=1, kind="stable")[:, :k]
    kept_Sk = ~np.take_along_axis(dropped_SX, order_Sk, axis=1)
    near_Sk = np.where(kept_Sk, np.take_along_axis(near_SX, order_Sk, axis=1), NO_NEIGHBOUR)
    return near_Sk, np.where(kept_Sk, np.take_along_axis(cosine_SX, order_Sk, axis=1), 0).astype(np.float32)
