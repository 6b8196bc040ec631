"""Media that need no seed: what is liked now, by everybody, in a topic or in a segment, and what is new.

Shapes: B users, T topics, G lists of all users, X rows of all users.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.counters import DAY_MS
from retrieval_svc.flow import NO_ROW, Flow, start
from retrieval_svc.igql.arguments import COUNT, DURATION, WINDOW, arg
from retrieval_svc.igql.operator import Operator, Run, operator
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64, largest_remainder, ranges, rank_within

Float64 = NDArray[np.float64]


@operator("trending", (Stage.USER,), Stage.MEDIA, endless=True)
class Trending(Operator):
    """What everybody likes most per impression; lately (counts that halve every day), or inside a window. Never ends early."""

    window: int | None = arg(WINDOW, "24h, 48h ...; lately if left out", None)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        orders = run.audience.catalogue.trends(self.window)
        take_B = np.minimum(want_B, len(orders.row_M))
        place_X = ranges(np.zeros_like(take_B), take_B)
        row_X, user_X = orders.row_M[place_X], np.repeat(np.arange(len(take_B)), take_B)
        if orders.place_M is not None:
            place_X = orders.place_M[place_X]
        return _seedless(run, user_X, row_X, orders.value_M[row_X], take_B < len(orders.row_M), place_X)


@operator("topic_trending", (Stage.USER,), Stage.MEDIA)
class TopicTrending(Operator):
    """What is liked now in the topics of the user's recent actions: the heavier the topic, the more slots, interleaved."""

    max_topics: int = arg(COUNT, "how many topics", 8)
    max_num_to_retrieve: int = arg(COUNT, "how many media", 1000)
    window: int | None = arg(WINDOW, "24h, 48h ...; lately if left out", None)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        audience = run.audience
        orders = audience.catalogue.trends(self.window)
        weight_BT = _heaviest(_topic_weights(run), self.max_topics)
        slots_BT = largest_remainder(np.where(want_B > 0, self.max_num_to_retrieve, 0), weight_BT)
        user_G, topic_G = np.nonzero(slots_BT)
        slots_G, start_G = slots_BT[user_G, topic_G], orders.topic_offsets[topic_G]
        take_G = np.minimum(slots_G, orders.topic_offsets[topic_G + 1] - start_G)
        group_X, found_X = np.repeat(np.arange(len(take_G)), take_G), ranges(start_G, take_G)
        place_X = rank_within(group_X)
        if orders.topic_place is not None:
            near_X = orders.topic_place[found_X] < slots_G[group_X]
            group_X, found_X = group_X[near_X], found_X[near_X]
            place_X = orders.topic_place[found_X].astype(np.int64)
        # (place + 1/2) / slots: every topic's list runs evenly from the top of the user's list to its end.
        depth_X = (place_X + 0.5) / slots_G[group_X]
        user_X, row_X = user_G[group_X], orders.topic_row[found_X]
        order_X = np.lexsort((row_X, depth_X, user_X))
        complete_B, depth_X = np.zeros(audience.users, dtype=np.bool_), depth_X[order_X]
        return _seedless(run, user_X[order_X], row_X[order_X], 1 - depth_X, complete_B, depth_X)


@operator("segment_trending", (Stage.USER,), Stage.MEDIA)
class SegmentTrending(Operator):
    """What users of the same segment like most. Nothing for a user without a segment, or with one that the bundle lacks."""

    max_num_to_retrieve: int = arg(COUNT, "how many", 500)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        audience, tables = run.audience, run.audience.catalogue.tables
        number = {name: place for place, name in enumerate(tables.segments)}
        segment_B = np.array([number.get(name, -1) for name in audience.contexts.segments], dtype=np.int64)
        asking = np.flatnonzero((segment_B >= 0) & (want_B > 0))
        place_X, take_S = tables.segment_media.of(segment_B[asking], self.max_num_to_retrieve)
        user_X = np.repeat(asking, take_S)
        row_X = tables.segment_media.row_X[place_X].astype(np.int64)
        score_X = 1 - (tables.segment_media.places(place_X, take_S) + 0.5) / self.max_num_to_retrieve
        return _seedless(run, user_X, row_X, score_X, np.zeros(audience.users, dtype=np.bool_))


@operator("fresh", (Stage.USER,), Stage.MEDIA)
class Fresh(Operator):
    """The newest media at the time of the request. With sample() after it, an exploration slot: each request draws its own."""

    max_age: int = arg(DURATION, "no older than this", 7 * DAY_MS)
    max_num_to_retrieve: int = arg(COUNT, "how many, at most", 2000)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        orders, now_ms_B = run.audience.catalogue.orders, run.audience.contexts.request_time_ms_B
        # newest_created_ms_M falls, so its mirror image rises and can be searched.
        oldest_first_M = orders.newest_created_ms_M[::-1]
        media = len(oldest_first_M)
        start_B = media - np.searchsorted(oldest_first_M, now_ms_B, side="right")
        end_B = media - np.searchsorted(oldest_first_M, now_ms_B - self.max_age, side="left")
        take_B = np.where(want_B > 0, np.clip(end_B - start_B, 0, self.max_num_to_retrieve), 0)
        if orders.newest_place_M is not None:
            end_B = np.searchsorted(orders.newest_place_M, start_B + take_B)
            start_B = np.searchsorted(orders.newest_place_M, start_B)
            take_B = end_B - start_B
        user_X = np.repeat(np.arange(len(take_B)), take_B)
        row_X = orders.newest_row_M[ranges(start_B, take_B)]
        age_X = now_ms_B[user_X] - run.audience.catalogue.items.created_at_ms_M[row_X]
        return _seedless(run, user_X, row_X, 1 - age_X / self.max_age, np.zeros(len(take_B), dtype=np.bool_))


def _seedless(
    run: Run,
    user_X: Int64,
    row_X: Int64,
    score_X: Float64,
    more_B: NDArray[np.bool_],
    key_X: NDArray[np.number] | None = None,
) -> Flow:
    """`key_X`: what orders the rows, where it is not the score."""
    rows = start(user_X, row_X, np.full(len(row_X), NO_ROW), score_X, run.audience.users)
    rows.more_B[:] = more_B
    return replace(rows, key_P=key_X.astype(np.float64)) if run.keyed and key_X is not None else rows


def _topic_weights(run: Run) -> Float64:
    """How much each user's recent actions speak for each topic, never below 0; negative ones speak against it. Shape [B, T]."""
    history, topics = run.audience.history, len(run.audience.catalogue.items.topics)
    users = len(history.weight_BL)
    user_X, slot_X = np.nonzero(history.topic_BL >= 0)
    cell_X = user_X * topics + history.topic_BL[user_X, slot_X]
    total = np.bincount(cell_X, weights=history.weight_BL[user_X, slot_X], minlength=users * topics)
    return np.maximum(total.reshape(users, topics), 0.0)


def _heaviest(weight_BT: Float64, topics: int) -> Float64:
    """The `topics` largest weights of every row, 0 elsewhere; equal weights: the lower topic number stays."""
    place_BT = np.argsort(np.argsort(-weight_BT, axis=1, kind="stable"), axis=1, kind="stable")
    return np.where(place_BT < topics, weight_BT, 0.0)
