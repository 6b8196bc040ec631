"""How a ranking set is computed from a log: which impressions, in which order, and what was known when they were requested.

Knows time and memory; knows nothing of models.

Shapes: N impressions, B requests, T tasks, F dense features, L = HISTORY_LENGTH slots, M media.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import TASKS
from features.assemble import assemble, candidate_view
from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH
from features.dense import FEATURES
from features.item_table import UNKNOWN_ROW, ItemTable
from features.related import RELATED_SLOTS
from training.contexts import ContextLog
from training.event_log import EventLog, sorted_rows, user_numbers
from training.ranking_set import RankingSet
from training.snapshots import ItemTables

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Progress = Callable[[int, int], None]

_CHUNK = 8_192  # impressions whose features are computed at once: bounds memory at about 200 MB


def build_ranking_set(
    shown: pl.DataFrame,
    contexts: ContextLog,
    item_tables: ItemTables,
    *,
    start_ms: int,
    end_ms: int,
    max_impressions: int | None = None,
    progress: Progress | None = None,
) -> RankingSet:
    """The requests of [start_ms, end_ms) with everything known at their time and nothing that came later.

    `shown` are the labelled impressions of the whole log (`training.datasets.examples.impressions`).

    A request's users are seen just before its first impression, its items in the last snapshot before it. Of more than
    `max_impressions` the most recent requests are kept. `progress` gets (impressions done, all). Memory: about 200 bytes per
    impression and 650 per request, plus one chunk.
    """
    rows = _rows(shown, contexts.log, start_ms, end_ms, max_impressions)
    dense_NF = np.empty((len(rows.row_N), len(FEATURES)), dtype=np.float32)
    shape_BL = (len(rows.user_B), HISTORY_LENGTH)
    row_BL, action_BL = np.empty(shape_BL, dtype=np.int32), np.empty(shape_BL, dtype=np.uint8)
    age_ms_BL = np.empty(shape_BL, dtype=np.int64)
    shape_NS = (len(rows.row_N), RELATED_SLOTS)
    related_row_NS, related_action_NS = np.empty(shape_NS, dtype=np.int32), np.empty(shape_NS, dtype=np.uint8)
    related_age_NS = np.empty(shape_NS, dtype=np.float32)
    snapshot_ms_B = item_tables.snapshot_ms(rows.time_ms_B)
    items: ItemTable | None = None
    for of_B in _chunks(rows.offsets, snapshot_ms_B):
        if items is None or items.as_of_ms != snapshot_ms_B[of_B.start]:
            items = item_tables.as_of(int(snapshot_ms_B[of_B.start]))
        of_N = slice(int(rows.offsets[of_B.start]), int(rows.offsets[of_B.stop]))
        context = contexts.at(rows.user_B[of_B], rows.time_ms_B[of_B], rows.surfaces[of_B], LONG_HISTORY_LENGTH)
        request_N = rows.request_N[of_N] - of_B.start
        view = candidate_view(context, items, rows.row_N[of_N], request_N, rows.position_N[of_N])
        dense_NF[of_N] = assemble(view, FEATURES)
        row_BL[of_B], action_BL[of_B] = view.history.row_BL, view.history.action_BL
        age_ms_BL[of_B] = view.history.age_ms_BL
        related_row_NS[of_N], related_action_NS[of_N] = view.related.row_NS, view.related.action_NS
        related_age_NS[of_N] = view.related.age_hours_NS
        if progress is not None:
            progress(of_N.stop, len(rows.row_N))
    return RankingSet(
        tasks=tuple(task.name for task in TASKS),
        dense_NF=dense_NF,
        label_NT=rows.label_NT,
        row_N=rows.row_N,
        request_N=rows.request_N,
        user_N=rows.user_B[rows.request_N],
        time_ms_N=rows.time_ms_B[rows.request_N],
        history_row_BL=row_BL,
        history_action_BL=action_BL,
        history_age_ms_BL=age_ms_BL,
        related_row_NS=related_row_NS,
        related_action_NS=related_action_NS,
        related_age_hours_NS=related_age_NS,
    )


@dataclass(frozen=True)
class _Rows:
    """The impressions of the window as columns, before features. Request b owns the rows offsets[b] : offsets[b + 1]."""

    user_B: Int64
    time_ms_B: Int64
    surfaces: list[str]
    offsets: Int64
    request_N: Int64
    row_N: Int64
    position_N: Float32
    label_NT: Float32


def _rows(shown: pl.DataFrame, log: EventLog, start_ms: int, end_ms: int, max_impressions: int | None) -> _Rows:
    frame = _requests_in_order(shown, start_ms, end_ms)
    frame = frame.with_columns(pl.Series("row", sorted_rows(log.media_id_M, frame["media_id"].to_numpy())))
    # An item without a row in the item table has no features; serving drops such candidates as well.
    frame = frame.filter(pl.col("row") != UNKNOWN_ROW)
    if max_impressions is not None and len(frame) > max_impressions:
        cut = frame["request"][-max_impressions - 1] if max_impressions else frame["request"][-1]
        frame = frame.filter(pl.col("request") > cut)
    first = frame["request"].is_first_distinct()
    heads = frame.filter(first)
    return _Rows(
        user_B=user_numbers(heads["user_id"], log.user_ids).astype(np.int64),
        time_ms_B=heads["request_ms"].to_numpy(),
        surfaces=heads["surface"].fill_null("").to_list(),
        offsets=np.append(np.flatnonzero(first.to_numpy()), len(frame)).astype(np.int64),
        request_N=np.cumsum(first.to_numpy(), dtype=np.int64) - 1,
        row_N=frame["row"].to_numpy().astype(np.int64),
        position_N=frame["position"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        label_NT=frame.select(pl.col(task.name).cast(pl.Float32) for task in TASKS).to_numpy(order="c"),
    )


def _requests_in_order(shown: pl.DataFrame, start_ms: int, end_ms: int) -> pl.DataFrame:
    """Impressions of the requests of [start_ms, end_ms), requests contiguous, with their number and first time."""
    shown = shown.with_row_index("place")
    # An impression that names no request is a request of its own.
    alone = pl.when(pl.col("request_id").is_null()).then(pl.col("place"))
    keys = ["user_id", "request_id", "alone"]
    requests = (
        shown.with_columns(alone.alias("alone"))
        .group_by(keys)
        .agg(pl.col("event_time").min().dt.epoch("ms").alias("request_ms"), pl.col("place").min().alias("request"))
        .filter(pl.col("request_ms").is_between(start_ms, end_ms, closed="left"))
    )
    joined = shown.with_columns(alone.alias("alone")).join(requests, on=keys, nulls_equal=True)
    return joined.sort("request_ms", "request", "place")


def _chunks(offsets: Int64, snapshot_ms_B: Int64) -> Iterator[slice]:
    """Runs of requests of one snapshot with about _CHUNK impressions."""
    start = 0
    while start < len(snapshot_ms_B):
        full = int(np.searchsorted(offsets, offsets[start] + _CHUNK))
        same = int(np.searchsorted(snapshot_ms_B, snapshot_ms_B[start], side="right"))
        stop = max(start + 1, min(full, same))
        yield slice(start, stop)
        start = stop
