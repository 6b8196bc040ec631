"""The nearest accounts of every account, so that serving looks them up instead of searching.

Knows vectors and rows; knows no media, users or files. The answer depends on the vectors alone, not on blocks or threads: products
of float32 matrices only choose candidates, which are compared by cosines that are summed in float64.

Shapes: X things, I things with a vector, E dimensions, K neighbours, Q queries of a block, J candidates of each, G members of a
group, P groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.progress import Progress
from training.sourcing.vector_index import VectorIndex, all_cores, search_widely

Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NO_NEIGHBOUR = -1
_BLOCK = 256  # queries at a time: a quarter of a gigabyte of products at 200,000 vectors
_GROUP = 32
_SPARE = 13  # candidates beyond K and the vector itself: enough to see past most ties
_ROUNDING = 4e-6  # more than the float32 products of two unit vectors can be off


@dataclass(frozen=True)
class Neighbours:
    """Rows of the nearest others, best first, equal ones by row; NO_NEIGHBOUR (cosine 0) where no other has a cosine above 0."""

    row_XK: Int32
    cosine_XK: Float16

    def covered(self) -> int:
        """How many things have a neighbour at all."""
        return int((self.row_XK != NO_NEIGHBOUR).any(axis=1).sum()) if self.row_XK.size else 0


def nearest(
    vector_XE: Float32, found: VectorIndex, k: int, all_pairs_up_to: int, progress: Progress | None = None
) -> Neighbours:
    """Neighbours among the vectors of `found`: of all pairs up to so many vectors, else by a wide search of the index.

    `progress` gets (vectors done, all).
    """
    row_I = found.row_I
    vector_IE = np.ascontiguousarray(vector_XE[row_I], dtype=np.float32)
    row_XK = np.full((len(vector_XE), k), NO_NEIGHBOUR, dtype=np.int32)
    cosine_XK = np.zeros((len(vector_XE), k), dtype=np.float16)
    answer = _by_all_pairs(vector_IE, k) if len(row_I) <= all_pairs_up_to else _by_index(vector_IE, found, k)
    for start in range(0, len(row_I), _BLOCK):
        query_Q = np.arange(start, min(start + _BLOCK, len(row_I)))
        place_QK, cosine_QK = answer(query_Q)
        row_XK[row_I[query_Q]] = np.where(place_QK >= 0, row_I[place_QK], NO_NEIGHBOUR)
        cosine_XK[row_I[query_Q]] = cosine_QK
        if progress is not None:
            progress(int(query_Q[-1]) + 1, len(row_I))
    return Neighbours(row_XK, cosine_XK)


_Answer = Callable[[Int64], tuple[Int64, Float32]]  # places and cosines [Q, K] of the vectors at places [Q]


def _by_index(vector_IE: Float32, found: VectorIndex, k: int) -> _Answer:
    def answer(query_Q: Int64) -> tuple[Int64, Float32]:
        with all_cores():
            near_QJ = search_widely(found.index, found.quality.kind, vector_IE[query_Q], k + 1 + _SPARE)
        return _best(vector_IE, query_Q, near_QJ, k)

    return answer


def _by_all_pairs(vector_IE: Float32, k: int) -> _Answer:
    products = _Products(vector_IE, k + 1 + _SPARE)

    def answer(query_Q: Int64) -> tuple[Int64, Float32]:
        near_QJ, left_Q = products.largest(query_Q)
        place_QK, cosine_QK = _best(vector_IE, query_Q, near_QJ, k)
        # Where more vectors may tie with the last neighbour than there were spare candidates, all that may are compared.
        for q in np.flatnonzero((left_Q > -_ROUNDING) & (left_Q >= cosine_QK[:, -1] - _ROUNDING)):
            product_I = vector_IE @ vector_IE[query_Q[q]]
            near_J = np.flatnonzero(product_I >= cosine_QK[q, -1] - _ROUNDING)
            of = query_Q[q : q + 1]
            place_QK[q : q + 1], cosine_QK[q : q + 1] = _best(vector_IE, of, near_J[None, :], k)
        return place_QK, cosine_QK

    return answer


def _best(vector_IE: Float32, query_Q: Int64, near_QJ: Int64, k: int) -> tuple[Int64, Float32]:
    """The k candidates with the highest positive cosines, equal ones by place; the vector itself is none. Shapes [Q, k]."""
    near_QJE = vector_IE[np.maximum(near_QJ, 0)].astype(np.float64)
    cosine_QJ = np.einsum("qe,qje->qj", vector_IE[query_Q].astype(np.float64), near_QJE).astype(np.float32)
    # A cosine that the stored type rounds to 0 is none.
    none_QJ = (near_QJ < 0) | (near_QJ == query_Q[:, None]) | (cosine_QJ.astype(np.float16) <= 0)
    near_QJ, cosine_QJ = np.where(none_QJ, NO_NEIGHBOUR, near_QJ), np.where(none_QJ, np.float32(0), cosine_QJ)
    order_Qk = np.lexsort((near_QJ, -cosine_QJ), axis=1)[:, :k]
    missing = ((0, 0), (0, k - order_Qk.shape[1]))
    place_Qk = np.pad(np.take_along_axis(near_QJ, order_Qk, axis=1), missing, constant_values=NO_NEIGHBOUR)
    return place_Qk, np.pad(np.take_along_axis(cosine_QJ, order_Qk, axis=1), missing)


class _Products:
    """Products of some vectors with all, and the largest of each: faster here than FAISS's exact scan.

    The vectors are dealt into groups. The `wanted` largest products lie in the `wanted` groups whose largest product is largest, so
    that only these are sorted out.
    """

    def __init__(self, vector_IE: Float32, wanted: int) -> None:
        self._count, dim = vector_IE.shape
        self._groups = max(1, -(-self._count // _GROUP))
        padded = torch.zeros((self._groups * _GROUP, dim))
        padded[: self._count] = torch.from_numpy(vector_IE)
        self._vectors, self._columns = padded, padded.T.contiguous()
        self._products = torch.empty((_BLOCK, len(padded)))
        self._wanted, self._wanted_groups = min(wanted, len(padded)), min(wanted, self._groups)

    def largest(self, query_Q: Int64) -> tuple[Int64, Float32]:
        """Places [Q, J] of the largest products, and a number [Q] that no product left out exceeds."""
        product_QGP = self._of(query_Q).view(len(query_Q), _GROUP, self._groups)
        group_QJ = torch.topk(product_QGP.amax(dim=1), self._wanted_groups, dim=1, sorted=False).indices
        member_QGJ = torch.gather(product_QGP, 2, group_QJ[:, None, :].expand(-1, _GROUP, -1))
        largest_QJ, member_QJ = torch.topk(member_QGJ.flatten(1), self._wanted, dim=1)
        group_QJ = torch.gather(group_QJ, 1, member_QJ % self._wanted_groups)
        place_QJ = (member_QJ // self._wanted_groups * self._groups + group_QJ).numpy()
        left_Q = largest_QJ[:, -1] if self._wanted < self._count else torch.full((len(query_Q),), -torch.inf)
        # Groups are filled up with zero vectors: their products of 0 displace no neighbour.
        return np.where(place_QJ < self._count, place_QJ, NO_NEIGHBOUR), left_Q.numpy()

    def _of(self, query_Q: Int64) -> Tensor:
        product_QX = self._products[: len(query_Q)]
        return torch.matmul(self._vectors[torch.from_numpy(query_Q)], self._columns, out=product_QX)
