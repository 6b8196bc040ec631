"""Everything sourcing knows about media and accounts, opened from one bundle, with the orders that no request should sort again.

Knows files and shapes; knows no users. What a source may assume about the arrays is checked here, once.
Shapes: M media, U accounts, T topics, I indexed accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt
from features.integrity import has_scores
from features.item_table import ItemTable
from retrieval_svc.account_index import AccountIndex, Int64
from retrieval_svc.quality import Float64, best_order, quality, trending
from retrieval_svc.ragged import offsets_of
from serving.items import open_items


class BrokenColumn(Exception):
    """A file of the bundle breaks the contract; `file` is its path inside the bundle."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file, self.problem = file, problem


@dataclass(frozen=True)
class Orders:
    """Media rows sorted once per bundle, best first (or newest first) within each list."""

    quality_M: Float64  # in (0, 1]
    trending_M: Float64
    posted_offsets: Int64  # U + 1
    posted_row_M: Int64  # by account, highest quality first
    topic_offsets: Int64  # T + 1
    topic_row: Int64  # media with a topic, by topic, trending first
    trending_row_M: Int64
    newest_row_M: Int64
    newest_created_ms_M: Int64  # creation times in the order of newest_row_M


@dataclass(frozen=True)
class Catalogue:
    """The sourcing artefacts of one bundle."""

    items: ItemTable
    accounts: AccountIndex
    orders: Orders
    has_integrity_scores: bool  # False: no media item at all has one, so there is no integrity model

    @classmethod
    def assemble(
        cls, items: ItemTable, index: faiss.Index, index_rows_I: Int64, media_offsets: Int64, media_row_M: Int64
    ) -> Catalogue:
        """The catalogue of arrays in memory. Raises BrokenColumn, naming the file that the array would come from."""
        _check_items(items)
        _check_index(items, index, index_rows_I)
        _check_postings(items, media_offsets, media_row_M)
        return cls(
            items=items,
            accounts=AccountIndex(index, index_rows_I, items.account_vector_UE),
            orders=_sort(items, media_offsets, media_row_M),
            has_integrity_scores=has_scores(items.non_recommendable_M),
        )

    @classmethod
    def open(cls, bundle: Bundle) -> Catalogue:
        """The catalogue of a verified bundle. Raises BundleCorrupt or UnknownFile, naming the file that is missing or wrong."""
        try:
            return cls.assemble(
                open_items(bundle),
                _open_index(bundle.file(layout.ACCOUNT_INDEX)),
                _column(bundle, layout.ACCOUNT_INDEX_ROWS),
                _column(bundle, layout.ACCOUNT_MEDIA_OFFSETS),
                _column(bundle, layout.ACCOUNT_MEDIA_ROWS),
            )
        except BrokenColumn as error:
            raise BundleCorrupt(bundle.version, error.file, error.problem) from error


def _sort(items: ItemTable, media_offsets: Int64, media_row_M: Int64) -> Orders:
    quality_M, trending_M = quality(items), trending(items)
    account_M = np.repeat(np.arange(len(items.account_id_U)), np.diff(media_offsets))
    trending_row_M = best_order(items, trending_M)
    topic_row = trending_row_M[items.topic_M[trending_row_M] >= 0]
    topic_row = topic_row[np.argsort(items.topic_M[topic_row], kind="stable")]
    newest_row_M = best_order(items, np.zeros(len(quality_M)))
    return Orders(
        quality_M=quality_M,
        trending_M=trending_M,
        posted_offsets=media_offsets,
        posted_row_M=media_row_M[np.lexsort((media_row_M, -quality_M[media_row_M], account_M))],
        topic_offsets=offsets_of(items.topic_M[topic_row].astype(np.int64), len(items.topics)),
        topic_row=topic_row,
        trending_row_M=trending_row_M,
        newest_row_M=newest_row_M,
        newest_created_ms_M=items.created_at_ms_M[newest_row_M],
    )


def _open_index(path: Path) -> faiss.Index:
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise BrokenColumn(layout.ACCOUNT_INDEX, "is no FAISS index that this release reads") from error


def _column(bundle: Bundle, relative: str) -> Int64:
    try:
        column = np.load(bundle.file(relative), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BrokenColumn(relative, f"cannot be read: {error}") from error
    if column.ndim != 1 or not np.issubdtype(column.dtype, np.integer):
        raise BrokenColumn(relative, f"holds {column.dtype} of shape {column.shape}, expected one integer column")
    return column.astype(np.int64)


def _check_items(items: ItemTable) -> None:
    media = len(items.media_id_M)
    for name, lowest, limit in (("author_row_M", 0, len(items.account_id_U)), ("topic_M", -1, len(items.topics))):
        column: NDArray[np.int32] = getattr(items, name)
        if len(column) != media:
            raise BrokenColumn(f"{layout.ITEMS}/{name}.npy", f"has {len(column)} rows, expected {media}")
        if media and (column.min() < lowest or column.max() >= limit):
            raise BrokenColumn(f"{layout.ITEMS}/{name}.npy", f"holds values outside {lowest}..{limit - 1}")


def _check_index(items: ItemTable, index: faiss.Index, index_rows_I: Int64) -> None:
    accounts, width = items.account_vector_UE.shape
    if index.d != width or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        problem = f"has width {index.d} and metric {index.metric_type}, expected {width} and inner product"
        raise BrokenColumn(layout.ACCOUNT_INDEX, problem)
    if index.ntotal != len(index_rows_I):
        problem = f"names {len(index_rows_I)} accounts, the index holds {index.ntotal}"
        raise BrokenColumn(layout.ACCOUNT_INDEX_ROWS, problem)
    if len(index_rows_I) and (index_rows_I.min() < 0 or index_rows_I.max() >= accounts):
        raise BrokenColumn(layout.ACCOUNT_INDEX_ROWS, f"names accounts outside 0..{accounts - 1}")


def _check_postings(items: ItemTable, media_offsets: Int64, media_row_M: Int64) -> None:
    accounts, media = len(items.account_id_U), len(items.media_id_M)
    ends = media_offsets[[0, -1]].tolist() if len(media_offsets) else []
    if len(media_offsets) != accounts + 1 or ends != [0, len(media_row_M)] or np.any(np.diff(media_offsets) < 0):
        problem = f"does not cut {len(media_row_M)} postings into {accounts} accounts"
        raise BrokenColumn(layout.ACCOUNT_MEDIA_OFFSETS, problem)
    if len(media_row_M) and (media_row_M.min() < 0 or media_row_M.max() >= media):
        raise BrokenColumn(layout.ACCOUNT_MEDIA_ROWS, f"names media outside 0..{media - 1}")
