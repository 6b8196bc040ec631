"""The part of a catalogue that one shard sources: the media of its accounts, and of everything else what leads to them.

A media item belongs to the shard of its author, so everything that one account posted is in one place. What is kept per media item
is split: columns, vectors and their index, posting lists, orders. What leads from a user to media is not, since every shard follows
every seed: accounts, their neighbours and follows, and the mapped columns of all media, of which requests read the rows that users
acted on. Scores and places are those among all media, so that answers of all shards can be merged.

Shapes: M all media, X media of the shard.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from features.item_table import ItemTable
from features.shards import Shard
from retrieval_svc.catalogue import Catalogue, Orders
from retrieval_svc.tables import Lists, read_here_and_there, release_pages
from serving.ragged import Int64

_BY_MEDIA = tuple(each.name for each in fields(ItemTable) if each.name.rpartition("_")[2] in ("M", "MA", "MD"))
_COUNTS = ("counts_MA", "recent_counts_MA")  # read when all media are put in order, by no request


def part_of(whole: Catalogue, shard: Shard) -> Catalogue:
    """What `shard` needs of a catalogue, copied out of it; the catalogue itself if there is one shard only."""
    if shard.count == 1:
        return whole
    own_U = shard.owns(whole.items.account_id_U)
    row_X = np.flatnonzero(own_U[whole.items.author_row_M])
    part = replace(whole, items=_items(whole.items, row_X), own_row_X=row_X, _trends={})
    own_row_M, tables = part.own_rows(), whole.tables
    orders = _orders(whole.orders, row_X, own_row_M)
    part = replace(
        part,
        media=whole.media.only(row_X, part.items.media_vector_MD),
        tables=replace(
            tables,
            posted=Lists(orders.posted_offsets, orders.posted_row_M),
            co_occurring=tables.co_occurring.only(own_row_M),
            engaged=tables.engaged.only(own_row_M),
            segment_media=tables.segment_media.only(own_row_M),
        ),
        orders=orders,
    )
    # Copying has touched nearly every page, of which requests read little.
    lists = (tables.posted, tables.co_occurring, tables.engaged, tables.segment_media)
    columns = [getattr(whole.items, name) for name in _BY_MEDIA]
    read_here_and_there(*columns)
    release_pages(*columns, *(array for each in lists for array in (each.row_X, each.score_X) if array is not None))
    return part


def _items(items: ItemTable, row_X: Int64) -> ItemTable:
    columns = {name: getattr(items, name) for name in _BY_MEDIA}
    own = {name: column[:0] if name in _COUNTS else column[row_X] for name, column in columns.items()}
    return replace(items, **own)


def _orders(orders: Orders, row_X: Int64, own_row_M: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Orders:
    posted = Lists(orders.posted_offsets, orders.posted_row_M).only(own_row_M)
    place_X = np.flatnonzero(own_row_M[orders.newest_row_M] >= 0)
    return Orders(
        quality_M=orders.quality_M[row_X],
        posted_offsets=posted.offsets,
        posted_row_M=posted.row_X.astype(np.int32),
        newest_row_M=own_row_M[orders.newest_row_M[place_X]].astype(np.int64),
        newest_created_ms_M=orders.newest_created_ms_M,
        newest_place_M=place_X,
    )
