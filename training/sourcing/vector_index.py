"""A FAISS index over unit vectors: which kind, how far it looks, and the proof that it finds what an exact scan finds.

Knows vectors, not what they stand for. Shapes: X things, I things with a vector, E dimensions, Q probes, k neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from features.vectors import embedding_version
from training.errors import ExportError
from training.progress import Progress
from training.sourcing.config import IndexConfig, IndexKind

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

RECALL_AT = 50
MIN_RECALL = 0.95
HNSW_NEIGHBOURS = 32
# Candidates that ivf_pq scores again by its 8-bit vectors, per neighbour asked for: 4-bit codes alone would order them badly. Not
# more, because sourcing looks at so many again, by the vectors of the item table, and the gate must not promise more than it finds.
REFINED = 3
EMBEDDING = "default"  # the name that sourcing asks for
_PROBES = 1_000  # vectors whose neighbours are compared with the exact ones
_CHUNK = 8_192  # vectors added at once
_FEWEST_PER_CELL = 39  # below it FAISS calls a k-means cell badly trained, and says so on stderr
_CODES = 16  # values of a 4-bit code
_EQUAL = 1e-6  # cosines closer than this are equal: sums of float32 products do not tell them apart


@dataclass(frozen=True)
class IndexQuality:
    """What an index is, and how many of the exact `RECALL_AT` nearest neighbours it finds."""

    kind: IndexKind
    vectors: int
    recall: float


@dataclass(frozen=True)
class VectorIndex:
    """An index that passed the gate. `row_I` says which thing each indexed vector is; things without a vector are in none."""

    index: Any
    row_I: Int64  # ascending
    quality: IndexQuality


def embedding_info(vector_XE: Float32, trained_until_ms: int) -> dict[str, Any]:
    """The content of an EMBEDDING file. The version changes with any number of the matrix, its type or its shape."""
    return {
        "name": EMBEDDING,
        "version": embedding_version(vector_XE),
        "dim": int(vector_XE.shape[1]),
        "vectors": int(vector_XE.any(axis=1).sum()),
        "trained_until_ms": trained_until_ms,
    }


def build_index(
    name: str, vector_XE: Float32, config: IndexConfig | None = None, progress: Progress | None = None
) -> VectorIndex:
    """Indexes the vectors that are not zero and measures the result. `progress` gets (vectors added, all).

    Raises ExportError, naming the index, when it finds too few of the exact neighbours however far it looks. `auto` then scans:
    vectors of which hundreds are equal (media of which only the topic is known) fall into islands that a graph cannot leave.
    """
    config = config or IndexConfig()
    row_I = np.flatnonzero(vector_XE.any(axis=1)).astype(np.int64)
    vector_IE = np.ascontiguousarray(vector_XE[row_I], dtype=np.float32)
    with all_cores():
        for kind in _kinds(len(row_I), config):
            index = _built(kind, vector_IE, config, progress)
            recall = 1.0 if kind == "exact" else _widened(kind, index, vector_IE, config)
            if recall >= MIN_RECALL:
                return VectorIndex(index, row_I, IndexQuality(kind, len(row_I), recall))
    problem = f"recall@{RECALL_AT} of {kind} is {recall:.3f}, must be {MIN_RECALL}"
    raise ExportError(name, f'{problem}; raise IndexConfig.widen, or set IndexConfig.kind to "exact"')


def measured_recall(index: Any, vector_IE: Float32) -> float:
    """Share of the exact nearest neighbours that the index finds, over evenly spaced vectors.

    What is found counts by its cosine: of equal vectors any is as near as another.
    """
    k = min(RECALL_AT, len(vector_IE))
    if k == 0:
        return 1.0
    query_QE = vector_IE[np.linspace(0, len(vector_IE) - 1, min(_PROBES, len(vector_IE))).astype(np.int64)]
    exact = faiss.IndexFlatIP(vector_IE.shape[1])
    exact.add(vector_IE)
    exact_Qk, _ = exact.search(query_QE, k)
    _, found_Qk = index.search(query_QE, k)
    cosine_Qk = np.einsum("qe,qke->qk", query_QE, vector_IE[np.maximum(found_Qk, 0)])
    return float(((found_Qk >= 0) & (cosine_Qk >= exact_Qk[:, -1:] - _EQUAL)).mean())


def search_widely(index: Any, kind: IndexKind, query_QE: Float32, k: int) -> Int64:
    """Places in the index of the k nearest, -1 where it finds fewer: looks twice as far as serving does. Shape [Q, k]."""
    parameters: Any = None
    library: Any = faiss  # its constructors take keyword arguments that its annotations do not know
    if kind == "hnsw":
        parameters = library.SearchParametersHNSW(efSearch=2 * max(index.hnsw.efSearch, k))
    elif kind == "ivf_pq":
        cells = library.SearchParametersIVF(nprobe=2 * faiss.extract_index_ivf(index).nprobe)
        parameters = library.IndexRefineSearchParameters(k_factor=2.0 * REFINED, base_index_params=cells)
    _, place_Qk = index.search(query_QE, k, params=parameters)
    return place_Qk


def _kinds(vectors: int, config: IndexConfig) -> tuple[IndexKind, ...]:
    """What to try, in this order."""
    if config.kind == "ivf_pq" and vectors < _CODES * _FEWEST_PER_CELL:
        return ("exact",)  # too few to train codes on
    if config.kind != "auto":
        return (config.kind,)
    return ("exact",) if vectors < config.exact_below else ("hnsw", "exact")


def _built(kind: IndexKind, vector_IE: Float32, config: IndexConfig, progress: Progress | None) -> Any:
    index = _empty(kind, vector_IE.shape[1], len(vector_IE), config)
    if not index.is_trained:
        index.train(vector_IE)
    for start in range(0, len(vector_IE), _CHUNK):
        index.add(vector_IE[start : start + _CHUNK])
        if progress is not None:
            progress(min(start + _CHUNK, len(vector_IE)), len(vector_IE))
    return index


def _empty(kind: IndexKind, dim: int, vectors: int, config: IndexConfig) -> Any:
    """HNSW: Malkov and Yashunin, 2016. IVF-PQ: an inverted file of 4-bit codes, one per dimension, refined by 8-bit vectors."""
    if kind == "hnsw":
        graph: Any = faiss.IndexHNSWFlat(dim, HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = config.ef_construction
        return graph
    if kind == "ivf_pq":
        cells = max(1, min(4 * int(vectors**0.5), vectors // _FEWEST_PER_CELL))
        # A code for each dimension: one for two of them would order 3 of 50 neighbours out of the refined candidates.
        refined: Any = faiss.index_factory(dim, f"IVF{cells},PQ{dim}x4fs,Refine(SQ8)", faiss.METRIC_INNER_PRODUCT)
        refined.k_factor = float(REFINED)
        return refined
    return faiss.IndexFlatIP(dim)


def _widened(kind: IndexKind, index: Any, vector_IE: Float32, config: IndexConfig) -> float:
    """Lets the index look farther until it passes the gate or may not any more; the recall at the end.

    How far an index looks is written with it, so serving searches as was measured.
    """
    setting, narrowest = ("efSearch", config.ef_search) if kind == "hnsw" else ("nprobe", config.probes)
    factor, recall = 1, 0.0
    while factor <= config.widen and recall < MIN_RECALL:
        faiss.ParameterSpace().set_index_parameter(index, setting, factor * narrowest)
        recall = measured_recall(index, vector_IE)
        factor *= 2
    return recall


@contextmanager
def all_cores() -> Iterator[None]:
    """FAISS on all cores while the block runs: training may have been started with fewer, for the sake of torch."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
