"""How a ranking set is computed from a log: which impressions, in which order, and what was known when they were requested.

Knows time and memory; knows nothing of models.

Shapes: N impressions, B requests, T tasks, F dense features, L = HISTORY_LENGTH slots, S = RELATED_SLOTS slots, M media.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from features.actions import TASKS
from features.assemble import assemble, candidate_view
from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH
from features.dense import FEATURES
from features.item_table import UNKNOWN_ROW, ItemTable
from features.related import RELATED_SLOTS
from training.columns import NO_GROUP, Scratch, chunks, grouped, places_where
from training.contexts import ContextLog
from training.event_log import NO_SURFACE, EventLog
from training.impressions import NO_HEAD, Impressions
from training.ranking_set import RankingSet
from training.snapshots import ItemTables

Int64 = NDArray[np.int64]
Progress = Callable[[int, int], None]

_CHUNK = 8_192  # impressions whose features are computed at once: bounds memory


def build_ranking_set(
    shown: Impressions,
    contexts: ContextLog,
    item_tables: ItemTables,
    *,
    start_ms: int,
    end_ms: int,
    max_impressions: int | None = None,
    history_until_ms: int | None = None,
    progress: Progress | None = None,
) -> RankingSet:
    """The requests of [start_ms, end_ms) with everything known at their time and nothing that came later.

    `shown` are the impressions of the whole log. A request's users are seen just before its first impression, its items in the
    last snapshot before it. Of more than `max_impressions` the most recent requests are kept. `progress` gets (impressions done,
    all).

    With `history_until_ms` the requests are those that serving would have asked, of users who had done nothing since: if the log
    knows places on pages at all, every candidate stands where serving assumes it. All else is as it is without.

    The set lies in the log's scratch: about 410 bytes per impression and 650 per request; besides there is one chunk.
    """
    log = contexts.log
    requests = _requests(shown, log, start_ms, end_ms, max_impressions)
    made = _empty(requests, log.scratch)
    time_ms_B = log.time_ms_E[requests.head_B]
    snapshot_ms_B = item_tables.snapshot_ms(time_ms_B)
    serves = history_until_ms is not None and log.has_positions()
    items: ItemTable | None = None
    for of_B in _chunks(requests.offsets, snapshot_ms_B):
        if items is None or items.as_of_ms != snapshot_ms_B[of_B.start]:
            items = item_tables.as_of(int(snapshot_ms_B[of_B.start]))
        offsets = requests.offsets[of_B.start : of_B.stop + 1]
        of_N, count_B = slice(int(offsets[0]), int(offsets[-1])), np.diff(offsets)
        place_N, request_N = requests.place_N[of_N], np.repeat(np.arange(len(count_B)), count_B)
        user_B = log.user_E[requests.head_B[of_B]].astype(np.int64)
        first_B = requests.place_N[offsets[:-1]]
        surfaces = [log.surfaces[s] if s != NO_SURFACE else "" for s in log.surface_E[first_B].tolist()]
        context = contexts.at(user_B, time_ms_B[of_B], surfaces, LONG_HISTORY_LENGTH, history_until_ms)
        row_N = log.media_row_E[place_N].astype(np.int64)
        position_N = None if serves else log.position_E[place_N]
        view = candidate_view(context, items, row_N, request_N, position_N)
        made["dense_NF"][of_N], made["label_NT"][of_N] = assemble(view, FEATURES), shown.labels(place_N)
        made["row_N"][of_N], made["request_N"][of_N] = row_N, request_N + of_B.start
        made["user_N"][of_N], made["time_ms_N"][of_N] = user_B[request_N], time_ms_B[of_B][request_N]
        made["history_row_BL"][of_B] = view.history.row_BL
        made["history_action_BL"][of_B] = view.history.action_BL
        made["history_age_ms_BL"][of_B] = view.history.age_ms_BL
        made["related_row_NS"][of_N], made["related_action_NS"][of_N] = view.related.row_NS, view.related.action_NS
        made["related_age_hours_NS"][of_N] = view.related.age_hours_NS
        if progress is not None:
            progress(of_N.stop, len(requests.place_N))
    return RankingSet(tasks=tuple(task.name for task in TASKS), **made, scratch=log.scratch)


def _empty(requests: _Requests, scratch: Scratch) -> dict[str, NDArray[Any]]:
    n, b = len(requests.place_N), len(requests.head_B)
    shapes: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
        "dense_NF": ((n, len(FEATURES)), np.float32),
        "label_NT": ((n, len(TASKS)), np.float32),
        "row_N": ((n,), np.int64),
        "request_N": ((n,), np.int64),
        "user_N": ((n,), np.int64),
        "time_ms_N": ((n,), np.int64),
        "history_row_BL": ((b, HISTORY_LENGTH), np.int32),
        "history_action_BL": ((b, HISTORY_LENGTH), np.uint8),
        "history_age_ms_BL": ((b, HISTORY_LENGTH), np.int64),
        "related_row_NS": ((n, RELATED_SLOTS), np.int32),
        "related_action_NS": ((n, RELATED_SLOTS), np.uint8),
        "related_age_hours_NS": ((n, RELATED_SLOTS), np.float32),
    }
    return {name: scratch.empty(shape, dtype) for name, (shape, dtype) in shapes.items()}


@dataclass(frozen=True)
class _Requests:
    """The requests of the window with at least one impression that has features, in time order.

    Request b owns the impressions offsets[b] : offsets[b + 1] of `place_N`.
    """

    head_B: Int64  # place in the log of the first impression
    offsets: Int64
    place_N: Int64  # places in the log


def _requests(shown: Impressions, log: EventLog, start_ms: int, end_ms: int, max_impressions: int | None) -> _Requests:
    """What of the log belongs to the window, as places in the log only: memory goes with the requests, not the impressions."""
    first, after = log.count_before(start_ms), log.count_before(end_ms)

    def head_of(of: slice) -> Int64:
        """Head counted from the window's first event; NO_GROUP if it lies elsewhere."""
        # An item without a row in the item table has no features; serving drops such candidates as well.
        head_X = np.where(log.media_row_E[of] == UNKNOWN_ROW, NO_HEAD, shown.head_E[of])
        return np.where((head_X >= first) & (head_X < after), head_X - first, NO_GROUP)

    count_H = log.scratch.zeros((after - first,), np.int32)
    for of in chunks(first, len(log)):  # a request of the window may go on beyond its end
        head_X, count_X = np.unique(head_of(of), return_counts=True)
        known_X = head_X != NO_GROUP
        count_H[head_X[known_X]] += count_X[known_X].astype(np.int32)
    head_B = places_where(lambda of: count_H[of] > 0, 0, len(count_H))
    ends_B = np.cumsum(count_H[head_B], dtype=np.int64)
    if max_impressions is not None and len(head_B) and ends_B[-1] > max_impressions:
        # Whole requests only: the one that the limit would cut goes as well.
        head_B = head_B[int(np.searchsorted(ends_B, ends_B[-1] - max_impressions)) + 1 :]
    if len(head_B) == 0:  # a quiet window: there is no row of `request_H` to look anything up in
        return _Requests(head_B, np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))
    request_H = count_H
    request_H[:] = NO_GROUP
    request_H[head_B] = np.arange(len(head_B), dtype=np.int32)

    def request_of(of: slice) -> NDArray[np.int32]:
        head_X = head_of(of)
        return np.where(head_X == NO_GROUP, np.int32(NO_GROUP), request_H[np.maximum(head_X, 0)])

    place_N, offsets = grouped(request_of, first, len(log), len(head_B), log.scratch)
    return _Requests(head_B + first, offsets, place_N)


def _chunks(offsets: Int64, snapshot_ms_B: Int64) -> Iterator[slice]:
    """Runs of requests of one snapshot with about _CHUNK impressions."""
    start = 0
    while start < len(snapshot_ms_B):
        full = int(np.searchsorted(offsets, offsets[start] + _CHUNK))
        same = int(np.searchsorted(snapshot_ms_B, snapshot_ms_B[start], side="right"))
        stop = max(start + 1, min(full, same))
        yield slice(start, stop)
        start = stop
