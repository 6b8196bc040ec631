"""Operators that choose among rows and order them. None of them finds new ones.

Shapes: P rows of all users, G groups.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.integrity import recommendable
from features.item_table import ItemTable
from retrieval_svc.flow import Flow, below_one
from retrieval_svc.igql.arguments import COLUMN, COUNT, DURATION, FRACTION, TOPICS, arg, choice
from retrieval_svc.igql.operator import Operator, Run, operator
from retrieval_svc.igql.rankers import ACCOUNT_RANKERS, MEDIA_RANKERS, Ranker
from retrieval_svc.igql.stages import Stage
from retrieval_svc.shuffle import random_keys
from serving.ragged import Int64, best_first, lowest_first, rank_within, stable_order

Bool = NDArray[np.bool_]

ROUND_ROBIN, MAX_PER = "round_robin", "max_per"
AUTHOR_COLUMN, TOPIC_COLUMN = "author_id", "topic"
_ROWS = (Stage.ACTIONS, Stage.ACCOUNTS, Stage.MEDIA)


@operator("filter", (Stage.MEDIA,), None, thins=True)
class Filter(Operator):
    """Only media for which every given condition holds. What is not known about a media item does not hold."""

    non_recommendable_model_threshold: float | None = arg(FRACTION, "integrity score at most this", None)
    max_age: int | None = arg(DURATION, "no older than this at the time of the request", None)
    min_duration: int | None = arg(DURATION, "at least this long", None)
    max_duration: int | None = arg(DURATION, "at most this long", None)
    topics: tuple[str, ...] | None = arg(TOPICS, "one of these topics", None)
    not_topics: tuple[str, ...] | None = arg(TOPICS, "none of these topics", None)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        items, row_P = run.audience.catalogue.items, flow.row_P
        kept_P = np.ones(len(flow), dtype=np.bool_)
        if self.non_recommendable_model_threshold is not None:
            allow_missing = not run.audience.catalogue.has_integrity_scores  # as eligibility does by default
            kept_P &= recommendable(
                items.non_recommendable_M[row_P], self.non_recommendable_model_threshold, allow_missing
            )
        if self.max_age is not None:
            age_P = run.audience.contexts.request_time_ms_B[flow.user_P] - items.created_at_ms_M[row_P]
            kept_P &= age_P <= self.max_age
        if self.min_duration is not None:
            kept_P &= items.duration_ms_M[row_P] >= self.min_duration  # a missing one is NaN, which compares false
        if self.max_duration is not None:
            kept_P &= items.duration_ms_M[row_P] <= self.max_duration
        if self.topics is not None:
            kept_P &= _has_topic(items, row_P, self.topics)
        if self.not_topics is not None:
            kept_P &= (items.topic_M[row_P] >= 0) & ~_has_topic(items, row_P, self.not_topics)
        return flow.drop(~kept_P, self.name, run.sources)


def _has_topic(items: ItemTable, row_P: Int64, names: tuple[str, ...]) -> Bool:
    wanted = [place for place, name in enumerate(items.topics) if name in names]
    return np.isin(items.topic_M[row_P], wanted)


@operator("rank", (Stage.MEDIA,), None, needs_all=True)
class Rank(Operator):
    """Best media first by a ranking model, whose score replaces the path's."""

    ranking_model: str = arg(choice("ranking model", tuple(MEDIA_RANKERS)), "which model", "default")

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _ranked(MEDIA_RANKERS[self.ranking_model], run, flow)


@operator("rank", (Stage.ACCOUNTS,), None, needs_all=True)
class RankAccounts(Operator):
    """Best accounts first by a ranking model, whose score replaces the path's."""

    ranking_model: str = arg(choice("ranking model", tuple(ACCOUNT_RANKERS)), "which model", "default")

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _ranked(ACCOUNT_RANKERS[self.ranking_model], run, flow)


def _ranked(ranker: Ranker, run: Run, flow: Flow) -> Flow:
    score_P = ranker(run.audience, flow)
    ranked = replace(flow, score_P=score_P)
    if flow.key_P is not None:  # equal scores keep their order, over all shards too
        ranked = replace(ranked, key_P=-score_P, tie_P=flow.key_P)
    return ranked.pick(best_first(score_P, flow.offsets))


@operator("diversify_by", (Stage.MEDIA,), None, needs_all=True)
class DiversifyBy(Operator):
    """Spreads rows over the values of a column. round_robin: rounds with at most one row per value; max_per: at most so many each.

    Columns: those named by let, author_id and topic. The order inside a value never changes, nor that inside a round. Rows without
    a value, such as trending media where others have a seed account, share one: spread the others before they are joined.
    """

    key: str = arg(COLUMN, "column to spread over")
    method: str = arg(choice("method", (ROUND_ROBIN, MAX_PER)), "how", ROUND_ROBIN)
    max_per: int = arg(COUNT, "with method=max_per: rows per value", 3)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        place_P = _place_in_group(flow, column(run, flow, self.key))
        if self.method == MAX_PER:
            return flow.drop(place_P >= self.max_per, self.name, run.sources)
        rounds = int(place_P.max(initial=0)) + 1
        if flow.key_P is not None:
            flow = replace(flow, key_P=place_P + below_one(flow.key_P))
        return flow.pick(stable_order(flow.user_P * rounds + place_P))


def column(run: Run, flow: Flow, name: str) -> Int64:
    """The values of a column that a query may name. Shape [P]."""
    if name in flow.bound or len(flow) == 0:
        return flow.bound.get(name, np.empty(0, dtype=np.int64))
    items = run.audience.catalogue.items
    column_M = {AUTHOR_COLUMN: items.author_row_M, TOPIC_COLUMN: items.topic_M}[name]
    return column_M[flow.row_P].astype(np.int64)


def _place_in_group(flow: Flow, key_P: Int64) -> Int64:
    """How many rows with the same user and value come before each row."""
    low = int(key_P.min(initial=0))
    width = int(key_P.max(initial=0)) - low + 1
    group_P = flow.user_P * width + (key_P - low)
    order_P = stable_order(group_P)
    place_P = np.empty(len(flow), dtype=np.int64)
    place_P[order_P] = rank_within(group_P[order_P])
    return place_P


@operator("sample", (Stage.ACTIONS,), None, needs_all=True)
class SampleActions(Operator):
    """So many actions at random, in random order. Every request draws anew; the same request draws the same ones."""

    count: int = arg(COUNT, "how many")
    seed: int = arg(COUNT, "another number draws other rows", 1)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _sampled(run, flow, run.audience.catalogue.all_items.media_id_M, self.count, self.seed)


@operator("sample", (Stage.MEDIA,), None, needs_all=True)
class Sample(Operator):
    """So many media at random, in random order. Every request draws anew; the same request draws the same media."""

    count: int = arg(COUNT, "how many")
    seed: int = arg(COUNT, "another number draws other rows", 1)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _sampled(run, flow, run.audience.catalogue.items.media_id_M, self.count, self.seed)

    def most(self) -> int | None:
        return self.count


@operator("sample", (Stage.ACCOUNTS,), None, needs_all=True)
class SampleAccounts(Operator):
    """So many accounts at random, in random order. Every request draws anew; the same request draws the same accounts."""

    count: int = arg(COUNT, "how many")
    seed: int = arg(COUNT, "another number draws other rows", 1)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        return _sampled(run, flow, run.audience.catalogue.items.account_id_U, self.count, self.seed)


def _sampled(run: Run, flow: Flow, ids: Int64, count: int, seed: int) -> Flow:
    # By id, not by row: the row of a media item changes with every bundle.
    key_P = random_keys(run.audience.contexts, flow.user_P, ids[flow.row_P], seed)
    if flow.key_P is not None:
        flow = replace(flow, key_P=(key_P >> np.uint64(32)).astype(np.float64))
    order_P = lowest_first(key_P, flow.offsets)
    drawn_P = rank_within(flow.user_P) < count  # of the shuffled rows: users keep their places
    if drawn_P.all():
        return flow.pick(order_P)
    dropped = flow.counted(order_P[~drawn_P], Sample.name, run.sources)
    return flow.pick(order_P[drawn_P]).with_dropped(dropped)


@operator("limit", _ROWS, None)
class Limit(Operator):
    """The first so many rows of every user."""

    count: int = arg(COUNT, "how many")

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        cut = flow.drop(rank_within(flow.user_P) >= self.count, self.name, run.sources)
        return replace(cut, more_B=cut.more_B & (cut.count_B < self.count))

    def asks(self, want_B: Int64) -> Int64:
        return np.minimum(want_B, self.count)

    def most(self) -> int | None:
        return self.count
