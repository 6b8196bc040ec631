"""What retrieval needs to go from accounts to similar accounts and on to their media: a FAISS index and posting lists.

Knows the files and their order; knows nothing of how vectors are trained or queries are run.

Shapes: M media, U accounts, I indexed accounts, E account vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from bundles import layout
from features.item_table import ItemTable
from training.errors import ExportError

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

EXACT_BELOW = 50_000  # accounts up to which an exact scan costs about a millisecond per query
HNSW_NEIGHBOURS = 32
EF_CONSTRUCTION = (
    200  # how far insertion and search look around: FAISS's defaults (40, 16) lose neighbours at this size
)
EF_SEARCH = 128
RECALL_AT = 50
MIN_RECALL = 0.95
_PROBES = 1_000  # accounts whose neighbours are compared with the exact ones


@dataclass(frozen=True)
class IndexQuality:
    """What the index is, and how many of the exact `RECALL_AT` nearest neighbours it finds."""

    kind: str
    accounts: int
    recall: float


def write_account_index(items: ItemTable, root: Path, exact_below: int = EXACT_BELOW) -> IndexQuality:
    """Writes the ACCOUNT_* files of `bundles.layout` under `root`. Accounts without a vector are left out of the index.

    Raises ExportError when an approximate index finds too few of the exact neighbours; then nothing is written.
    """
    row_I = np.flatnonzero(items.account_vector_UE.any(axis=1)).astype(np.int64)
    index = build_index(items.account_vector_UE[row_I], exact_below)
    quality = check_recall(index, items.account_vector_UE[row_I])
    offsets, row_M = posting_lists(items)
    for name in (
        layout.ACCOUNT_INDEX,
        layout.ACCOUNT_INDEX_ROWS,
        layout.ACCOUNT_MEDIA_OFFSETS,
        layout.ACCOUNT_MEDIA_ROWS,
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(root / layout.ACCOUNT_INDEX))
    np.save(root / layout.ACCOUNT_INDEX_ROWS, row_I, allow_pickle=False)
    np.save(root / layout.ACCOUNT_MEDIA_OFFSETS, offsets, allow_pickle=False)
    np.save(root / layout.ACCOUNT_MEDIA_ROWS, row_M, allow_pickle=False)
    return quality


def build_index(vector_IE: NDArray[np.float32], exact_below: int = EXACT_BELOW) -> faiss.Index:
    """An inner-product index: an exact scan below `exact_below` vectors, HNSW (Malkov and Yashunin, 2016) above."""
    dim = vector_IE.shape[1]
    index: faiss.Index = faiss.IndexFlatIP(dim)
    if len(vector_IE) >= exact_below:
        index = faiss.IndexHNSWFlat(dim, HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.hnsw.efSearch = EF_SEARCH  # is written with the index, so serving searches as it was measured
    index.add(np.ascontiguousarray(vector_IE))
    return index


def check_recall(index: faiss.Index, vector_IE: NDArray[np.float32]) -> IndexQuality:
    """Compares the index with an exact scan on evenly spaced accounts. Raises ExportError below MIN_RECALL."""
    if isinstance(index, faiss.IndexFlat) or len(vector_IE) == 0:
        return IndexQuality("exact", len(vector_IE), 1.0)
    k = min(RECALL_AT, len(vector_IE))
    query_QE = np.ascontiguousarray(vector_IE[:: max(1, len(vector_IE) // _PROBES)])
    _, exact_Qk = build_index(vector_IE, exact_below=len(vector_IE) + 1).search(query_QE, k)
    _, found_Qk = index.search(query_QE, k)
    hits = sum(len(np.intersect1d(exact, found)) for exact, found in zip(exact_Qk, found_Qk, strict=True))
    recall = hits / exact_Qk.size
    if recall < MIN_RECALL:
        problem = f"recall@{k} is {recall:.3f}, must be {MIN_RECALL}; raise EF_SEARCH or use an exact index"
        raise ExportError("the account index", problem)
    return IndexQuality("hnsw", len(vector_IE), recall)


def posting_lists(items: ItemTable) -> tuple[Int64, Int32]:
    """Media rows by account, newest first within one: offsets [U + 1] and rows [M]. Equal times keep the higher row first."""
    row_M = np.arange(len(items.media_id_M) - 1, -1, -1)
    order_M = np.lexsort((-items.created_at_ms_M[row_M], items.author_row_M[row_M]))
    size_U = np.bincount(items.author_row_M, minlength=len(items.account_id_U))
    return np.concatenate([[0], np.cumsum(size_U)]).astype(np.int64), row_M[order_M].astype(np.int32)
