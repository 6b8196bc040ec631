"""Nearest accounts in embedding space. Knows FAISS and account rows; knows neither media nor users.

Shapes: S asked accounts, k neighbours, I indexed accounts, U accounts of the item table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]

NEIGHBOURS = 20  # how many the sources ask for
NO_NEIGHBOUR = -1

# From 20 queries on, an exact scan of FAISS multiplies matrices; below, it adds up one product at a time. The two round
# differently, and then the neighbours of an account would depend on who else is in the batch.
_QUERIES_PER_CALL = 16


class AccountIndex:
    """FAISS over unit account vectors (inner product = cosine). `index_rows_I` says which account each indexed vector is.

    Neighbours never change within a bundle, and popular accounts are asked for all the time, so answers are kept: 12 bytes per
    neighbour and account that was asked for. Safe to call from several threads: they would store equal answers.
    """

    def __init__(self, index: Any, index_rows_I: Int64, account_vector_UE: Float32) -> None:
        self._index, self._index_rows_I, self._vector_UE = index, index_rows_I, account_vector_UE
        self._answers: dict[int, dict[int, tuple[Int64, Float32]]] = {}

    def neighbours(self, account_row_S: Int64, k: int = NEIGHBOURS) -> tuple[Int64, Float32]:
        """The `k` nearest other accounts of every account, nearest first, and their cosines. Shapes [S, k].

        NO_NEIGHBOUR (cosine 0) fills up where the index holds fewer, and everywhere for an account without a vector.
        """
        if len(account_row_S) == 0:
            return np.empty((0, k), dtype=np.int64), np.empty((0, k), dtype=np.float32)
        answers = self._answers.setdefault(k, {})
        asked, place_S = np.unique(account_row_S, return_inverse=True)
        missing = np.array([row for row in asked.tolist() if row not in answers], dtype=np.int64)
        if len(missing):
            for row, near_k, cosine_k in zip(missing.tolist(), *self._search(missing, k), strict=True):
                answers[row] = (near_k, cosine_k)
        found = [answers[row] for row in asked.tolist()]
        near_Sk = np.stack([near_k for near_k, _ in found])[place_S]
        return near_Sk, np.stack([cosine_k for _, cosine_k in found])[place_S]

    def _search(self, account_row_S: Int64, k: int) -> tuple[Int64, Float32]:
        query_SE = np.ascontiguousarray(self._vector_UE[account_row_S], dtype=np.float32)
        calls = range(0, len(query_SE), _QUERIES_PER_CALL)
        # One neighbour more than asked for: an account is its own nearest.
        found = [self._index.search(query_SE[start : start + _QUERIES_PER_CALL], k + 1) for start in calls]
        cosine_Sj: Float32 = np.concatenate([cosine for cosine, _ in found])
        place_Sj: Int64 = np.concatenate([place for _, place in found])
        valid_Sj = (place_Sj >= 0) & np.any(query_SE != 0, axis=1, keepdims=True)
        near_Sj = np.full(place_Sj.shape, NO_NEIGHBOUR, dtype=np.int64)
        near_Sj[valid_Sj] = self._index_rows_I[place_Sj[valid_Sj]]
        near_Sj[near_Sj == account_row_S[:, None]] = NO_NEIGHBOUR
        # FAISS leaves the order of equal distances open; the account row settles it.
        order_Sj = np.lexsort((near_Sj, -cosine_Sj, near_Sj == NO_NEIGHBOUR), axis=1)[:, :k]
        near_Sk = np.take_along_axis(near_Sj, order_Sj, axis=1)
        cosine_Sk = np.take_along_axis(cosine_Sj, order_Sj, axis=1)
        return near_Sk, np.where(near_Sk == NO_NEIGHBOUR, 0, cosine_Sk).astype(np.float32)
