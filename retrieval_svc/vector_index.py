"""Nearest vectors of an item table by cosine, with filters and with vectors that come and go while others search.

Knows FAISS and table rows; knows neither what the rows are (media, accounts) nor where queries come from.

Shapes: Q queries, k results, J candidates of one query, P pairs of a query and a row, I indexed vectors, R rows of the item table,
N added vectors, E vector width.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.ragged import rank_within

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_faiss: Any = faiss  # its parameters get their Python constructors at import, which types do not see

NO_ROW = -1
EXACT_SHARE = 0.2  # a filter that keeps less is scanned: below, graphs and cells lose most of what it keeps
SCANNED = 50_000  # vectors of a shard up to which a scan is fast enough
_SPARE = 8  # candidates beyond k: FAISS rounds differently, which must not decide who is among the k
_CODED_FETCH, _CODED_SPARE = 3, 64  # candidates per result, and beyond, where FAISS ranks by codes of a few bits
_QUERIES_AT_ONCE = 256
_ROWS_AT_ONCE = 8_192  # a block of vectors that stays in the cache
_ROUNDING = 1e-4  # a product of unit vectors in another order of summation differs by less


class EmbeddingVersionMismatch(ValueError):
    """Vectors of one embedding version were brought to an index of another. `ours` is the index's version."""

    def __init__(self, ours: str, theirs: str) -> None:
        super().__init__(
            f"the index holds vectors of embedding version {ours!r}, the new ones are of {theirs!r}, and cosines between "
            f"two versions mean nothing; compute them with {ours!r}, or activate the bundle that was trained with {theirs!r}"
        )
        self.ours, self.theirs = ours, theirs


def open_index(path: Path) -> faiss.Index:
    """The FAISS index in a file, which is mapped as every column is: what nobody searches takes no memory.

    Raises OSError, or ValueError or RuntimeError for a file that holds no index.
    """
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    content = np.frombuffer(mapping, dtype=np.uint8)
    reader = _faiss.ZeroCopyIOReader(_faiss.swig_ptr(content), len(content))
    index = _faiss.read_index(reader)
    index.referenced_objects = [reader, content]  # the index points into them
    # FAISS has looked at every edge of a graph to see that it is none that leads nowhere: half of the file, perhaps never again.
    mapping.madvise(mmap.MADV_DONTNEED)
    return index


class VectorIndex:
    """FAISS over unit vectors (inner product = cosine), vectors that were added since, and rows that were removed.

    The FAISS index proposes; cosines are always computed from the vectors, the same way on every path. So equal vectors have
    equal cosines, the lower row comes first, and no answer depends on the other queries of a batch. An index of codes needs no
    refinement of its own; one that has it is searched without.

    Readers take no lock: nothing that they see is ever changed. A writer makes the next snapshot and swaps one reference.
    What was added is scanned for every query, so it should stay small; the next bundle takes it in.
    """

    def __init__(self, index: faiss.Index | None, row_I: Int64, vectors: Float32, version: str) -> None:
        """`vectors` [R, E] may be memory-mapped; a row of zeros has no vector. FAISS numbers its vectors by place in `row_I`.

        Without an index every query is a scan.
        """
        rows, dim = vectors.shape
        expected = (dim, faiss.METRIC_INNER_PRODUCT, len(row_I))
        if index is not None and (index.d, index.metric_type, index.ntotal) != expected:
            found = f"{index.ntotal} vectors of width {index.d} under metric {index.metric_type}"
            raise ValueError(f"the FAISS index holds {found}, expected {len(row_I)} of width {dim} and inner product")
        if len(row_I) and (row_I.min() < 0 or row_I.max() >= rows):
            raise ValueError(f"the FAISS index names rows outside 0..{rows - 1}")
        self._version = version
        self._writing = threading.Lock()
        self._now = Snapshot(
            table=_Table(index, _searched(index), row_I, int(row_I.max(initial=NO_ROW)) + 1, vectors),
            alive_I=np.ones(len(row_I), dtype=np.bool_),
            outdated_R=np.zeros(rows, dtype=np.bool_),
            added_row_N=np.empty(0, dtype=np.int64),
            added_vector_NE=np.empty((0, dim), dtype=np.float32),
        )

    @property
    def version(self) -> str:
        """Of the embedding; vectors of two versions never meet."""
        return self._version

    def only(self, row_R: Int64, vectors: Float32) -> VectorIndex:
        """An index over some rows of the table alone, which are numbered anew from 0. `vectors` are theirs.

        It is of the same kind, built here and now; few vectors are scanned.
        """
        table = self._now.table
        is_indexed = np.zeros(len(table.vectors), dtype=np.bool_)
        is_indexed[table.row_I] = True
        row_I = np.flatnonzero(is_indexed[row_R])
        index = None
        if table.searched is not None and len(row_I) >= SCANNED and not isinstance(table.searched, faiss.IndexFlat):
            index = _of_the_same_kind(table.searched)
            index.add(np.ascontiguousarray(vectors[row_I]))
        return VectorIndex(index, row_I, vectors, self._version)

    @property
    def dim(self) -> int:
        return self._now.table.vectors.shape[1]

    @property
    def now(self) -> Snapshot:
        """What is searched at this moment, for answers that need more than one look at the same state."""
        return self._now

    def search(self, query_QE: Float32, k: int, allowed_R: Bool | None = None) -> tuple[Int64, Float32]:
        """Rows [Q, k] of the nearest vectors, best first, and their cosines; NO_ROW and 0 fill up. See Snapshot.search."""
        return self._now.search(query_QE, k, allowed_R)

    def add(self, row_N: Int64, vector_NE: Float32, version: str) -> None:
        """Vectors that every later search finds; one of a known row replaces the old one, the last one of a row counts.

        All of them appear at once. Rows may lie beyond the table. Raises EmbeddingVersionMismatch, or ValueError naming the row.
        """
        if version != self._version:
            raise EmbeddingVersionMismatch(self._version, version)
        if vector_NE.shape != (len(row_N), self.dim):
            raise ValueError(
                f"{len(row_N)} rows came with vectors of shape {vector_NE.shape}, width must be {self.dim}"
            )
        unit_NE = _unit(vector_NE)
        wrong_N = (row_N < 0) | ~unit_NE.any(axis=1)
        if wrong_N.any():
            raise ValueError(
                f"row {row_N[wrong_N][0]} cannot be added: it is negative, or its vector is zero or not finite"
            )
        with self._writing:
            now = self._now.without(row_N)
            # np.unique keeps the first of a row, the last one is to count.
            row_A, place_A = np.unique(row_N[::-1], return_index=True)
            every_row_N = np.concatenate([now.added_row_N, row_A])
            order_N = np.argsort(every_row_N)
            every_vector_NE = np.concatenate([now.added_vector_NE, unit_NE[::-1][place_A]])
            self._now = replace(now, added_row_N=every_row_N[order_N], added_vector_NE=every_vector_NE[order_N])

    def remove(self, row_N: Int64) -> None:
        """No later search finds these rows, until they are added again. Unknown rows are none of its business."""
        with self._writing:
            self._now = self._now.without(row_N)


@dataclass(frozen=True)
class _Table:
    """What a bundle brought: it never changes."""

    index: Any  # kept only because `searched` may point into it
    searched: Any  # None: nothing but a scan
    row_I: Int64
    end: int  # above every indexed row
    vectors: Float32  # [R, E]


@dataclass(frozen=True)
class Snapshot:
    """What a VectorIndex holds at one moment. Never changes, so every number of readers may use it."""

    table: _Table
    alive_I: Bool  # indexed vectors that are still the ones of their rows
    outdated_R: Bool  # rows whose vector in the table was replaced or removed
    added_row_N: Int64  # ascending
    added_vector_NE: Float32

    def without(self, row_X: Int64) -> Snapshot:
        """The next snapshot, in which these rows have no vector. Costs a pass over the table's rows, not over its vectors."""
        outdated_R = self.outdated_R.copy()
        outdated_R[row_X[(row_X >= 0) & (row_X < len(outdated_R))]] = True
        left_N = ~np.isin(self.added_row_N, row_X)
        return replace(
            self,
            alive_I=~outdated_R[self.table.row_I],
            outdated_R=outdated_R,
            added_row_N=self.added_row_N[left_N],
            added_vector_NE=self.added_vector_NE[left_N],
        )

    def in_table(self, row_X: Int64) -> Bool:
        """Whether the vector of each row is the one that the bundle brought. Shape [*X]."""
        known_X = (row_X >= 0) & (row_X < len(self.outdated_R))
        return known_X & ~self.outdated_R[np.where(known_X, row_X, 0)] if len(self.outdated_R) else known_X

    def vectors_of(self, row_S: Int64) -> Float32:
        """The vector of every row, zeros for rows that have none. Shape [S, E]."""
        vector_SE = np.zeros((len(row_S), self.table.vectors.shape[1]), dtype=np.float32)
        table_S = self.in_table(row_S)
        vector_SE[table_S] = self.table.vectors[row_S[table_S]]
        added_S = np.isin(row_S, self.added_row_N)
        vector_SE[added_S] = self.added_vector_NE[np.searchsorted(self.added_row_N, row_S[added_S])]
        return vector_SE

    def search(self, query_QE: Float32, k: int, allowed_R: Bool | None = None) -> tuple[Int64, Float32]:
        """Rows [Q, k] of the nearest vectors, best first (equal cosines: lower row first), and cosines; NO_ROW and 0 fill up.

        `allowed_R` says which rows may be found; it covers every indexed row, and rows beyond its end are not allowed. A query
        of zeros, or one that is not finite, finds nothing. Queries need not be unit vectors.
        """
        table = self.table
        if allowed_R is not None and len(allowed_R) < table.end:
            raise ValueError(f"the filter covers {len(allowed_R)} rows, the index holds rows up to {table.end - 1}")
        alive_I = self.alive_I if allowed_R is None else self.alive_I & allowed_R[table.row_I]

        def found(unit_QE: Float32) -> _Found:
            return _best_of_each(
                _search_table(table, unit_QE, k, alive_I), self._search_added(unit_QE, k, allowed_R), k
            )

        row_Qk, cosine_Qk = _search_all(found, query_QE, table.vectors.shape[1], k)
        assert allowed_R is None or allowed_R[row_Qk[row_Qk != NO_ROW]].all(), "found a row that the filter forbids"
        return row_Qk, cosine_Qk

    def search_added(self, query_QE: Float32, k: int) -> tuple[Int64, Float32]:
        """`search` among the added vectors only."""
        dim = self.table.vectors.shape[1]
        return _search_all(lambda unit_QE: self._search_added(unit_QE, k, None), query_QE, dim, k)

    def _search_added(self, unit_QE: Float32, k: int, allowed_R: Bool | None) -> _Found:
        place_N = np.arange(len(self.added_row_N))
        if allowed_R is not None:
            place_N = place_N[self.added_row_N < len(allowed_R)]
            place_N = place_N[allowed_R[self.added_row_N[place_N]]]
        return _scan(self.added_vector_NE, place_N, self.added_row_N[place_N], unit_QE, k)


@dataclass(frozen=True)
class _Found:
    """Pairs of a query and a row."""

    query_P: Int64
    row_P: Int64
    cosine_P: Float32


_NOTHING = _Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


def _searched(index: faiss.Index | None) -> Any:
    """The index that proposes. What refines its distances is passed over: cosines come from the table's vectors anyway."""
    searched = None if index is None else faiss.downcast_index(index)
    while isinstance(searched, faiss.IndexRefine):
        searched = faiss.downcast_index(searched.base_index)
    return searched


def _of_the_same_kind(searched: Any) -> Any:
    """An empty index with the parameters, and what was trained, of another one."""
    if isinstance(
        searched, faiss.IndexHNSWFlat
    ):  # a copy of the graph would take as much memory as the graph for a while
        hnsw: Any = searched.hnsw
        neighbours = hnsw.nb_neighbors(1)  # on every level but the lowest, which has twice as many
        graph = _faiss.IndexHNSWFlat(searched.d, neighbours, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = hnsw.efConstruction, hnsw.efSearch
        return graph
    empty = faiss.clone_index(searched)
    empty.reset()
    return empty


def _unit(vector_XE: Float32) -> Float32:
    """Vectors of length 1; zeros in place of those that are zero or not finite."""
    finite_X1 = np.isfinite(vector_XE).all(axis=1, keepdims=True)
    wide_XE = np.ascontiguousarray(np.where(finite_X1, vector_XE, 0), dtype=np.float64)
    norm_X1 = np.sqrt(np.vecdot(wide_XE, wide_XE))[:, None]
    return (wide_XE / np.where(norm_X1 > 0, norm_X1, 1)).astype(np.float32)


def _search_all(found: Callable[[Float32], _Found], query_QE: Float32, dim: int, k: int) -> tuple[Int64, Float32]:
    """What is `found` for the unit vectors of queries, some at a time, as tables. Queries without direction find nothing."""
    if query_QE.ndim != 2 or query_QE.shape[1] != dim:
        raise ValueError(f"queries have shape {query_QE.shape}, the index has width {dim}")
    row_Qk = np.full((len(query_QE), k), NO_ROW, dtype=np.int64)
    cosine_Qk = np.zeros((len(query_QE), k), dtype=np.float32)
    unit_QE = _unit(query_QE)
    asking = np.flatnonzero(unit_QE.any(axis=1)) if k else _NOTHING.query_P
    for start in range(0, len(asking), _QUERIES_AT_ONCE):
        part = asking[start : start + _QUERIES_AT_ONCE]
        best = found(unit_QE[part])
        cells = (part[best.query_P], rank_within(best.query_P))
        row_Qk[cells], cosine_Qk[cells] = best.row_P, best.cosine_P
    return row_Qk, cosine_Qk


def _search_table(table: _Table, unit_QE: Float32, k: int, alive_I: Bool) -> _Found:
    """The nearest among the indexed vectors that are `alive_I`: as FAISS proposes, or exact where it would lose too many."""
    alive = int(np.count_nonzero(alive_I))
    if table.searched is None:
        return _scan_table(table, unit_QE, k, alive_I)
    fetch = k + _SPARE if isinstance(table.searched, faiss.IndexHNSWFlat) else _CODED_FETCH * k + _CODED_SPARE
    # Exact is also what FAISS does in a flat index; the scan here rounds like every other path.
    if alive < EXACT_SHARE * len(alive_I) or fetch >= alive or isinstance(table.searched, faiss.IndexFlat):
        return _scan_table(table, unit_QE, k, alive_I)
    place_QJ = _propose(table.searched, unit_QE, fetch, alive_I)
    # Not every kind of index takes a filter, so nothing that it says is taken on trust.
    query_P, candidate_P = np.nonzero((place_QJ >= 0) & alive_I[place_QJ])
    row_P = table.row_I[place_QJ[query_P, candidate_P]]
    cosine_P = _cosines(table.vectors, row_P, unit_QE, query_P)
    found = _best_of_each(_NOTHING, _Found(query_P, row_P, cosine_P), k)
    short = np.flatnonzero(np.bincount(query_P, minlength=len(unit_QE)) < min(k, alive))
    if len(short) == 0:
        return found
    exact = _scan_table(table, unit_QE[short], k, alive_I)
    left_P = ~np.isin(found.query_P, short)
    found = _Found(found.query_P[left_P], found.row_P[left_P], found.cosine_P[left_P])
    return _best_of_each(found, replace(exact, query_P=short[exact.query_P]), k)


def _propose(searched: Any, unit_QE: Float32, fetch: int, alive_I: Bool) -> Int64:
    """Places [Q, J] of candidates, -1 where FAISS found fewer."""
    share = float(np.count_nonzero(alive_I) / len(alive_I))
    selector = _faiss.IDSelectorBitmap(np.packbits(alive_I, bitorder="little")) if share < 1 else None
    wider = 1 / share  # rejected vectors take up room in the queue of a graph and in the cells that are visited
    if isinstance(searched, faiss.IndexHNSW):
        reach = math.ceil(max(searched.hnsw.efSearch, fetch) * wider)
        # An unbounded queue ignores the selector (FAISS issue 5504).
        parameters = _faiss.SearchParametersHNSW(efSearch=reach, bounded_queue=True, sel=selector)
        return searched.search(unit_QE, fetch, params=parameters)[1]
    parameters = None
    if isinstance(searched, faiss.IndexIVF):
        parameters = _faiss.SearchParametersIVF(nprobe=math.ceil(searched.nprobe * wider), sel=selector)
    else:
        fetch = min(math.ceil(fetch * wider), len(alive_I))
    # One at a time: how cells are visited, and with that who is found, may depend on the number of queries.
    return np.concatenate([searched.search(query_E[None], fetch, params=parameters)[1] for query_E in unit_QE])


def _scan_table(table: _Table, unit_QE: Float32, k: int, alive_I: Bool) -> _Found:
    row_X = np.sort(table.row_I[alive_I], kind="stable")
    return _scan(table.vectors, row_X, row_X, unit_QE, k)


def _scan(vectors: Float32, place_X: Int64, row_X: Int64, unit_QE: Float32, k: int) -> _Found:
    """The exact answer among `vectors[place_X]`, which belong to the rows `row_X`. Places ascend."""
    best = _NOTHING
    bar_Q = np.full(len(unit_QE), -np.inf, dtype=np.float32)  # the k-th best so far
    for start in range(0, len(place_X), _ROWS_AT_ONCE):
        vector_XE = _block(vectors, place_X[start : start + _ROWS_AT_ONCE])
        # A matrix product rounds by its shape and a row's place in it, so it only says who comes into question.
        rough_QX = unit_QE @ vector_XE.T
        if start == 0 and len(vector_XE) >= k:
            bar_Q = np.partition(rough_QX, -k, axis=1)[:, -k]
        query_P, place_P = np.nonzero(rough_QX >= bar_Q[:, None] - _ROUNDING)
        cosine_P = _cosines(vector_XE, place_P, unit_QE, query_P)
        best = _best_of_each(best, _Found(query_P, row_X[start + place_P], cosine_P), k)
        full = np.flatnonzero(np.bincount(best.query_P, minlength=len(bar_Q)) == k)
        bar_Q[full] = best.cosine_P[np.searchsorted(best.query_P, full, side="right") - 1]
    return best


def _block(vectors: Float32, place_X: Int64) -> Float32:
    """`vectors[place_X]`, not copied where they lie side by side. Places ascend."""
    first, last = int(place_X[0]), int(place_X[-1])
    side_by_side = last - first == len(place_X) - 1
    return np.ascontiguousarray(vectors[first : last + 1] if side_by_side else vectors[place_X], dtype=np.float32)


def _cosines(vectors: Float32, place_P: Int64, unit_QE: Float32, query_P: Int64) -> Float32:
    """Cosine of every pair of a vector and a query. One dot product each, so no pair changes what another one gets."""
    cosine_P = np.empty(len(place_P), dtype=np.float32)
    for start in range(0, len(place_P), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        vector_PE = np.ascontiguousarray(vectors[place_P[part]], dtype=np.float32)
        cosine_P[part] = np.vecdot(vector_PE, unit_QE[query_P[part]])
    return cosine_P


def _best_of_each(some: _Found, more: _Found, k: int) -> _Found:
    """The k best of every query, best first; equal cosines: lower row first."""
    query_P = np.concatenate([some.query_P, more.query_P])
    row_P = np.concatenate([some.row_P, more.row_P])
    cosine_P = np.concatenate([some.cosine_P, more.cosine_P])
    order_P = np.lexsort((row_P, -cosine_P, query_P))
    order_P = order_P[rank_within(query_P[order_P]) < k]
    return _Found(query_P[order_P], row_P[order_P], cosine_P[order_P])
