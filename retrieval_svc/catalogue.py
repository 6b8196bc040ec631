"""Everything sourcing knows about media and accounts, opened from one bundle, with the orders that no request should sort again.

Knows files and shapes; knows no users. What an operator may assume about the arrays is checked here, once.
Shapes: M media, U accounts, T topics, I indexed vectors, K stored neighbours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields

import faiss
import numpy as np
from numpy.typing import NDArray

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt
from features.integrity import has_scores
from features.item_table import ItemTable
from features.vectors import embedding_version
from retrieval_svc.igql.vocabulary import Vocabulary
from retrieval_svc.neighbours import AccountNeighbours
from retrieval_svc.quality import Float64, best_order, newest_order, quality, trending
from retrieval_svc.tables import BrokenColumn, Find, SourcingTables, array, release_pages
from retrieval_svc.vector_index import VectorIndex, open_index
from serving.ragged import Int64, offsets_of

DEFAULT = "default"  # the name of the only embedding that training publishes so far


@dataclass(frozen=True)
class Trends:
    """All media by how much they are liked, over one window: overall and by topic, best first."""

    value_M: Float64
    row_M: Int64
    topic_offsets: Int64  # T + 1
    topic_row: Int64  # media with a topic, by topic
    place_M: Int64 | None = None  # of `row_M` among all media, 0-based, in a shard
    topic_place: NDArray[np.int32] | None = None  # of `topic_row` among all media of the topic, in a shard

    def only(self, row_X: Int64, own_row_M: NDArray[np.int32]) -> Trends:
        """What a shard needs of it: its media `row_X`, which have the numbers `own_row_M` there, and where they stand."""
        place_X = np.flatnonzero(own_row_M[self.row_M] >= 0)
        topic_X = np.flatnonzero(own_row_M[self.topic_row] >= 0)
        before_X = self.topic_offsets[np.searchsorted(self.topic_offsets, topic_X, side="right") - 1]
        return Trends(
            value_M=self.value_M[row_X],
            row_M=own_row_M[self.row_M[place_X]].astype(np.int64),
            topic_offsets=np.searchsorted(topic_X, self.topic_offsets),
            topic_row=own_row_M[self.topic_row[topic_X]].astype(np.int64),
            place_M=place_X,
            topic_place=(topic_X - before_X).astype(np.int32),
        )


@dataclass(frozen=True)
class Orders:
    """Media rows sorted once per bundle, best first (or newest first) within each list."""

    quality_M: Float64  # in (0, 1]
    posted_offsets: Int64  # U + 1
    posted_row_M: NDArray[np.int32]  # by account, highest quality first
    newest_row_M: Int64
    newest_created_ms_M: Int64  # creation times of all media, newest first; those of newest_row_M but in a shard
    newest_place_M: Int64 | None = None  # of `newest_row_M` among all media, 0-based, in a shard


@dataclass(frozen=True)
class Catalogue:
    """The sourcing artefacts of one bundle: of all media, or of those that one shard sources (`part.py`).

    Media rows are rows of `items`, which holds what may be sourced. What users acted on are rows of `all_items`, and so are the
    keys of co-occurrence. Without shards both are the same table. Account rows are the same in both, and in every shard.
    """

    items: ItemTable
    accounts: AccountNeighbours
    media: VectorIndex  # the item tower
    tables: SourcingTables  # window values are those of all media
    orders: Orders
    has_integrity_scores: bool  # False: no media item at all has one, so there is no integrity model
    all_items: ItemTable
    own_row_X: Int64 | None = None  # rows in `all_items` of the media of this shard
    _trends: dict[int | None, Trends] = field(default_factory=dict)

    @classmethod
    def assemble(
        cls, items: ItemTable, accounts: AccountNeighbours, media: VectorIndex, tables: SourcingTables
    ) -> Catalogue:
        """The catalogue of arrays in memory. Raises BrokenColumn, naming the file that the array would come from."""
        _check_items(items)
        tables.check(len(items.media_id_M), len(items.account_id_U))
        return cls(items, accounts, media, tables, _sort(items, tables), has_scores(items.non_recommendable_M), items)

    @classmethod
    def open(cls, bundle: Bundle) -> Catalogue:
        """The catalogue of a verified bundle. Raises BundleCorrupt or UnknownFile, naming the file that is missing or wrong."""
        try:
            return cls.of_files(bundle.file)
        except BrokenColumn as error:
            raise BundleCorrupt(bundle.version, error.file, error.problem) from error

    @classmethod
    def of_files(cls, find: Find) -> Catalogue:
        """The catalogue of the files that `find` finds. Raises BrokenColumn, naming the file that is missing or wrong."""
        items = _open_items(find)
        index = _open_index(
            find, layout.ACCOUNT_INDEX, layout.ACCOUNT_INDEX_ROWS, layout.ACCOUNT_EMBEDDING, items.account_vector_UE
        )
        near_UK = array(find, layout.ACCOUNT_NEIGHBOURS, np.integer, dimensions=2)
        cosine_UK = array(find, layout.ACCOUNT_NEIGHBOUR_COSINES, np.floating, dimensions=2)
        accounts = len(items.account_id_U)
        if len(near_UK) != accounts or near_UK.shape != cosine_UK.shape:
            problem = f"has shape {near_UK.shape}, cosines {cosine_UK.shape}, expected one row for each of {accounts} accounts"
            raise BrokenColumn(layout.ACCOUNT_NEIGHBOURS, problem)
        if near_UK.size and (near_UK.min() < -1 or near_UK.max() >= accounts):
            raise BrokenColumn(layout.ACCOUNT_NEIGHBOURS, f"names accounts outside 0..{accounts - 1}")
        catalogue = cls.assemble(
            items,
            AccountNeighbours(near_UK, cosine_UK, index),
            _open_index(
                find, layout.MEDIA_INDEX, layout.MEDIA_INDEX_ROWS, layout.MEDIA_EMBEDDING, items.media_vector_MD
            ),
            SourcingTables.open(find),
        )
        # Checking and sorting have touched nearly everything, of which requests read little.
        columns = [getattr(items, each.name) for each in fields(items)]
        release_pages(near_UK, cosine_UK, *(column for column in columns if isinstance(column, np.ndarray)))
        return catalogue

    @property
    def vocabulary(self) -> Vocabulary:
        """The names that a query may use on this catalogue."""
        return Vocabulary((DEFAULT,), (DEFAULT,), self.tables.windows_ms, self.items.topics)

    def own_rows(self) -> NDArray[np.int32]:
        """The row in `items` of every media item of `all_items`, -1 for those of other shards."""
        assert self.own_row_X is not None
        own_row_M = np.full(len(self.all_items.media_id_M), -1, dtype=np.int32)
        own_row_M[self.own_row_X] = np.arange(len(self.own_row_X))
        return own_row_M

    def trends(self, window_ms: int | None) -> Trends:
        """What is liked inside a published window, or lately (None). Sorted on first use, which the plan's warm-up makes."""
        if window_ms not in self._trends:
            trends = self._sorted_by_trend(window_ms)
            if self.own_row_X is not None:
                trends = trends.only(self.own_row_X, self.own_rows())
                release_pages(self.all_items.recent_counts_MA, self.tables.window_value_WM)
            self._trends[window_ms] = trends
        return self._trends[window_ms]

    def _sorted_by_trend(self, window_ms: int | None) -> Trends:
        items = self.all_items
        if window_ms is None:
            value_M = trending(items)
        else:
            value_M = self.tables.window_value_WM[self.tables.windows_ms.index(window_ms)].astype(np.float64)
        # In a shard, the order that is kept is of its own media only.
        newest_M = self.orders.newest_row_M if self.own_row_X is None else newest_order(items)
        row_M = best_order(value_M, newest_M)
        topic_M = items.topic_M[row_M].astype(np.int64)
        placed = np.flatnonzero(topic_M >= 0)
        topic_row = row_M[_grouped(topic_M[placed], placed, len(row_M))]
        return Trends(value_M, row_M, offsets_of(topic_M[placed], len(items.topics)), topic_row)


def _sort(items: ItemTable, tables: SourcingTables) -> Orders:
    newest_row_M, posted = newest_order(items), tables.posted
    quality_M, media = quality(items, newest_row_M), len(items.media_id_M)
    account_M = np.repeat(np.arange(len(items.account_id_U)), np.diff(posted.offsets))
    worse_M = np.rint(quality_M * media).astype(np.int64)  # 1 .. M, the best has the most
    best_row_M = np.empty(media, dtype=np.int64)
    best_row_M[media - worse_M] = np.arange(media)
    return Orders(
        quality_M=quality_M,
        posted_offsets=posted.offsets,
        posted_row_M=best_row_M[_grouped(account_M, media - worse_M[posted.row_X], media)].astype(np.int32),
        newest_row_M=newest_row_M,
        newest_created_ms_M=items.created_at_ms_M[newest_row_M],
    )


def _grouped(group_X: Int64, place_X: Int64, places: int) -> Int64:
    """The places 0 .. `places` - 1 by group, rising within each. As one number each, they are sorted several times as fast."""
    key_X = group_X * places + place_X
    key_X.sort()
    return key_X % places


def _open_items(find: Find) -> ItemTable:
    table = find(f"{layout.ITEMS}/table.json")
    try:
        return ItemTable.open(table.parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenColumn(layout.ITEMS, f"cannot be read: {error}") from error


def _open_index(find: Find, file: str, rows_file: str, about_file: str, vectors: NDArray[np.float32]) -> VectorIndex:
    """A FAISS index and what its vectors are. Raises BrokenColumn for files that do not belong together."""
    try:
        index = open_index(find(file))
    except (OSError, ValueError, RuntimeError) as error:
        raise BrokenColumn(file, "is no FAISS index that this release reads") from error
    row_I = array(find, rows_file, np.integer).astype(np.int64)
    rows, width = vectors.shape
    if index.d != width or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        problem = f"has width {index.d} and metric {index.metric_type}, expected {width} and inner product"
        raise BrokenColumn(file, problem)
    if index.ntotal != len(row_I):
        raise BrokenColumn(rows_file, f"names {len(row_I)} rows, the index holds {index.ntotal}")
    if len(row_I) and (row_I.min() < 0 or row_I.max() >= rows):
        raise BrokenColumn(rows_file, f"names rows outside 0..{rows - 1}")
    return VectorIndex(index, row_I, vectors, _version(find, about_file, index, vectors))


def _version(find: Find, file: str, index: faiss.Index, vectors: NDArray[np.float32]) -> str:
    """The version of an embedding. Raises BrokenColumn if the index holds vectors of another one."""
    try:
        about = json.loads(find(file).read_text(encoding="utf-8"))
        version, dim, count = str(about["version"]), int(about["dim"]), int(about["vectors"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenColumn(file, f"cannot be read: {error}") from error
    if (dim, count) != (index.d, index.ntotal):
        raise BrokenColumn(
            file, f"describes {count} vectors of {dim} numbers, the index holds {index.ntotal} of {index.d}"
        )
    if embedding_version(vectors) != version:
        problem = f"describes embedding version {version}, the item table holds {embedding_version(vectors)}; publish both together"
        raise BrokenColumn(file, problem)
    return version


def _check_items(items: ItemTable) -> None:
    media = len(items.media_id_M)
    for name, lowest, limit in (("author_row_M", 0, len(items.account_id_U)), ("topic_M", -1, len(items.topics))):
        column: NDArray[np.int32] = getattr(items, name)
        if len(column) != media:
            raise BrokenColumn(f"{layout.ITEMS}/{name}.npy", f"has {len(column)} rows, expected {media}")
        if media and (column.min() < lowest or column.max() >= limit):
            raise BrokenColumn(f"{layout.ITEMS}/{name}.npy", f"holds values outside {lowest}..{limit - 1}")
