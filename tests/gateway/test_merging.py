"""Merged lists of shards against one engine over all media: the same candidates, or what is missing and why.

Real engines over random catalogues. Two places of a query do not come apart by account, and only there answers may differ:

- `media_nn` finds the nearest k media of every shard, before rules refuse some of them. Merged, a list may go on where one engine's
  would end: never less is found. As long as such a list is not exhausted, answers are equal.
- What counts rows of several shards in the middle of a list: a limit, sample or mix before another step than a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import UserContexts
from features.shards import Shard, shard_of
from gateway.merging import Merged, merged
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.files import DEFAULT_QUERY
from retrieval_svc.igql.optimise import optimised
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.recipe import lists_of
from retrieval_svc.part import part_of
from retrieval_svc.sourced import sourced
from serving.columns import CandidateColumns, Lists
from serving.ragged import Int64
from serving.recipe import FirstOf, ListOf, Mixed, Recipe, United
from tests.retrieval_svc.worlds import catalogue_of, random_items, random_users

ITEMS = random_items(7, media=1_500, accounts=80)
WHOLE_CATALOGUE = catalogue_of(ITEMS)
CONFIG = SourcingConfig()
PUBLISHED = (
    "user.let(seed_id=user_id).liked(max_num_to_retrieve=30).account_nn(embedding_config=default)"
    ".posted_media(max_media_per_account=10).filter(non_recommendable_model_threshold=0.2)"
    ".rank(ranking_model=default).diversify_by(seed_id, method=round_robin)"
)
# Every source of the default query, and others that come apart by account.
EXACT = {
    "similar": "user.let(seed_id=user_id).interacted(any).account_nn().posted_media(max_media_per_account=10).rank()",
    "not ranked": "user.interacted(any).account_nn().posted_media(3)",
    "engaged": "union(user.interacted(any), user.followed()).posted_media(max_media_per_account=20).rank()",
    "taste": "user.media_nn(max_num_to_retrieve=1500)",
    "all media": "user.media_nn(max_num_to_retrieve=1000000)",
    "all media like those": "user.interacted(any).media_nn(max_num_to_retrieve=1000000)",
    "all accounts": "user.interacted(any).account_nn(max_num_to_retrieve=1000000).posted_media(1)",
    "also": "user.interacted(any).co_occurring(max_num_to_retrieve=5)",
    "topics": "user.topic_trending(max_topics=3, max_num_to_retrieve=90)",
    "trending": "user.trending()",
    "window": "user.trending(window=48h)",
    "segment": "user.segment_trending(30)",
    "fresh": "user.fresh(max_age=7d, max_num_to_retrieve=200)",
    "sampled": "user.fresh(max_age=7d, max_num_to_retrieve=200).sample(60)",
    "seconds": "user.followed().followed().engaged_media(4)",
    "limited": "user.trending().limit(20)",
    "filtered": 'user.trending().filter(max_age=9d, topics=["topic-1", "topic-3"])',
    "authors": "user.liked().account_nn().posted_media().rank().diversify_by(author_id, method=max_per, max_per=2)",
    "published": PUBLISHED,
    "topical": "user.fresh(max_age=20d).diversify_by(topic, method=max_per, max_per=7).limit(30)",
    "union": "union(user.segment_trending(10), user.fresh(max_age=3d), user.trending())",
    "fallback": "fallback(user.segment_trending(10), user.fresh(max_age=2d), user.trending(), at_least=15)",
}


class Sharded:
    """One engine over everything, and engines of so many shards."""

    def __init__(self, catalogue: Catalogue, count: int) -> None:
        self.count = count
        self._one = RetrievalEngine(catalogue, CONFIG)
        self._shards = [RetrievalEngine(part_of(catalogue, Shard(index, count)), CONFIG) for index in range(count)]

    def whole(self, plan: Plan, users: UserContexts, seen_B: Sequence[Int64], count: int) -> CandidateColumns:
        flow = self._one.execution(plan, users, seen_B, np.array([count])).answer()
        return sourced(flow, plan, ITEMS).candidates

    def lists(self, plan: Plan, users: UserContexts, seen_B: Sequence[Int64], count: int) -> list[Lists]:
        found = []
        for engine in self._shards:
            execution = engine.execution(plan, users, seen_B, np.array([count]), keyed=True)
            lists = lists_of(execution, plan)
            columns = sourced(lists.flow, plan, engine.catalogue.items).candidates
            found.append(lists.as_lists(columns))
        return found


SHARDED = {count: Sharded(WHOLE_CATALOGUE, count) for count in (2, 3, 5)}


def plan_of(text: str) -> Plan:
    return optimised(compile_query(text, WHOLE_CATALOGUE.vocabulary))


PLANS = {name: plan_of(text) for name, text in EXACT.items()}
UNTIL_THE_END = plan_of(
    DEFAULT_QUERY.read_text().replace("media_nn(max_num_to_retrieve=400)", "media_nn(max_num_to_retrieve=1500)")
)


def assert_same(found: Merged, expected: CandidateColumns) -> None:
    candidates = found.candidates
    for name in ("media_id_N", "author_id_N", "seed_account_id_N", "source_index_N", "score_N"):
        assert getattr(candidates, name).tolist() == getattr(expected, name).tolist(), name
    assert (candidates.sources, candidates.source_paths) == (expected.sources, expected.source_paths)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(EXACT)), st.sampled_from(sorted(SHARDED)), st.integers(0, 10_000), st.integers(1, 300))
def test_a_source_that_comes_apart_by_account_is_the_same_over_shards(
    name: str, shards: int, seed: int, count: int
) -> None:
    users, seen_B = random_users(ITEMS, seed, 1)
    parts = SHARDED[shards].lists(PLANS[name], users, seen_B, count)
    assert_same(merged(parts, count), SHARDED[shards].whole(PLANS[name], users, seen_B, count))


@pytest.mark.parametrize(
    "text",
    [
        "user.fresh(max_age=20d).rank(trending)",
        "user.fresh(max_age=20d).rank(trending).diversify_by(author_id).limit(60)",
        "user.interacted(any).account_nn().posted_media(4).rank(trending)",
        "union(user.fresh(max_age=4d).rank(trending), user.topic_trending(max_num_to_retrieve=90))",
    ],
)
def test_media_of_one_score_keep_their_order_over_shards(text: str) -> None:
    """As media do that nobody has seen lately: ranked by what is liked now they are all the same."""
    unseen = replace(ITEMS, recent_counts_MA=np.zeros_like(ITEMS.recent_counts_MA))
    catalogue = catalogue_of(unseen)
    sharded, plan = Sharded(catalogue, 3), optimised(compile_query(text, catalogue.vocabulary))
    for seed in range(5):
        users, seen_B = random_users(unseen, seed, 1)
        expected = sharded.whole(plan, users, seen_B, 40)
        assert_same(merged(sharded.lists(plan, users, seen_B, 40), 40), expected)
        by_id = sorted(expected.media_id_N.tolist())
        assert expected.media_id_N.tolist() != by_id or len(by_id) < 2  # which is what decides where nothing else does


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(SHARDED)), st.integers(0, 10_000), st.sampled_from([1, 25, 100, 500]))
def test_the_default_query_gives_the_same_over_shards(shards: int, seed: int, count: int) -> None:
    """With its quotas, refills, fallbacks, claims of several sources on one media item, and seeds."""
    users, seen_B = random_users(ITEMS, seed, 1)
    parts = SHARDED[shards].lists(UNTIL_THE_END, users, seen_B, count)
    assert_same(merged(parts, count), SHARDED[shards].whole(UNTIL_THE_END, users, seen_B, count))


def test_the_nearest_media_are_never_fewer_over_shards() -> None:
    plan, longer = plan_of("user.media_nn(max_num_to_retrieve=40)"), 0
    for seed in range(30):
        users, seen_B = random_users(ITEMS, seed, 1)
        expected = SHARDED[3].whole(plan, users, seen_B, 100).media_id_N.tolist()
        found = merged(SHARDED[3].lists(plan, users, seen_B, 100), 100).candidates.media_id_N.tolist()
        assert found[: len(expected)] == expected
        assert len(found) <= 40
        longer += len(found) > len(expected)
    assert longer > 0  # else this would say nothing


def test_the_default_query_as_it_stands_gives_nearly_the_same() -> None:
    plan, recalls = plan_of(DEFAULT_QUERY.read_text()), []
    for seed in range(10):
        users, seen_B = random_users(ITEMS, seed, 1)
        expected = SHARDED[3].whole(plan, users, [seen[:100] for seen in seen_B], 200).media_id_N
        found = merged(SHARDED[3].lists(plan, users, [seen[:100] for seen in seen_B], 200), 200).candidates.media_id_N
        assert len(found) == len(expected)
        if len(expected):
            recalls.append(len(np.intersect1d(found, expected)) / len(expected))
    assert np.mean(recalls) >= 0.95


def test_without_one_shard_the_others_fill_the_answer() -> None:
    users, seen_B = random_users(ITEMS, 3, 1)
    parts = SHARDED[3].lists(UNTIL_THE_END, users, seen_B, 300)
    found = merged(parts[1:], 300).candidates
    assert len(found) == 300
    assert set(shard_of(found.author_id_N, 3).tolist()) == {1, 2}


def test_every_row_is_accounted_for() -> None:
    for seed in range(3):
        users, seen_B = random_users(ITEMS, seed, 1)
        parts = SHARDED[2].lists(UNTIL_THE_END, users, seen_B, 200)
        found = merged(parts, 200)
        sources_P = np.concatenate([part.candidates.source_index_N for part in parts])
        rows_S = np.bincount(sources_P, minlength=len(found.kept_S))
        assert (found.kept_S + found.duplicate_S + found.over_quota_S).tolist() == rows_S.tolist()
        assert found.kept_S.sum() == len(found.candidates)


def of_rows(
    rows: Sequence[tuple[int, int, float]], more: Sequence[bool], recipe: Recipe, ties: Sequence[float] = ()
) -> Lists:
    """Rows are (list, media id, key)."""
    count, ids = len(rows), np.array([media for _, media, _ in rows], dtype=np.int64)
    zeros, sources = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.uint8)
    columns = CandidateColumns(np.array([0, count]), ids, ids, zeros, sources, zeros.astype(np.float32), ("a",))
    list_N = np.array([number for number, *_ in rows], dtype=np.int64)
    key_N = np.array([key for _, _, key in rows], dtype=np.float64)
    tie_N = np.array(ties or [0.0] * count, dtype=np.float64)
    return Lists(columns, list_N, key_N, tie_N, zeros, np.array([more]), recipe)


def ids(parts: Sequence[Lists], count: int = 10) -> list[int]:
    found: list[int] = merged(parts, count).candidates.media_id_N.tolist()
    return found


def test_a_list_ends_behind_the_last_row_of_a_shard_that_has_more() -> None:
    """Its next row might come before those of the other shard."""
    cut = of_rows([(0, 1, 1.0), (0, 2, 3.0)], [True], ListOf(0))
    whole = of_rows([(0, 3, 2.0), (0, 4, 4.0)], [False], ListOf(0))
    assert ids([cut, whole]) == [1, 3, 2]
    assert ids([of_rows([], [True], ListOf(0)), whole]) == []


def test_equal_keys_are_ordered_by_tie_then_by_media() -> None:
    row, other = [(0, 9, 1.0)], [(0, 4, 1.0)]
    assert ids([of_rows(row, [False], ListOf(0)), of_rows(other, [False], ListOf(0))]) == [4, 9]
    assert ids([of_rows(row, [False], ListOf(0), [-0.5]), of_rows(other, [False], ListOf(0), [-0.4])]) == [9, 4]
    assert ids([of_rows([(0, 9, 0.5)], [False], ListOf(0), [8.0]), of_rows(other, [False], ListOf(0))]) == [9, 4]


def test_a_limit_holds_over_all_shards() -> None:
    parts = [of_rows([(0, media, media) for media in mine], [False], ListOf(0, most=3)) for mine in ((1, 3, 5), (2, 4))]
    assert ids(parts) == [1, 2, 3]


def test_enough_rows_of_all_shards_together_are_enough() -> None:
    recipe = FirstOf((ListOf(0), ListOf(1)), at_least=2)
    one, other = (of_rows([(0, media, 0.0), (1, media + 5, 0.0)], [False, False], recipe) for media in (1, 2))
    assert ids([one]) == [1]  # none is long enough: the first of the longest
    assert ids([one, other]) == [1, 2]


def test_a_list_behind_one_that_goes_on_is_not_reached() -> None:
    recipe = United((ListOf(0), ListOf(1)))
    assert ids([of_rows([(0, 1, 0.0), (1, 2, 0.0)], [True, False], recipe)]) == [1]
    assert ids([of_rows([(0, 1, 0.0), (1, 2, 0.0), (1, 1, 1.0)], [False, False], recipe)]) == [1, 2]


def test_shares_are_those_of_all_shards_together() -> None:
    recipe = Mixed((ListOf(0), Mixed((ListOf(1), ListOf(2)), (1.0, 1.0))), (1.0, 1.0))
    rows = [
        [(number, 10 * number + m, float(m)) for number in range(3) for m in range(1, 9) if m % 2 == s]
        for s in range(2)
    ]
    found = ids([of_rows(each, [False] * 3, recipe) for each in rows], 8)
    assert sorted(found) == [1, 2, 3, 4, 11, 12, 21, 22]


def test_nothing_anywhere_is_nothing() -> None:
    recipe = Mixed((ListOf(0), United((ListOf(1),))), (1.0, 2.0))
    found = merged([of_rows([], [False, False], recipe)] * 2, 5)
    assert (len(found.candidates), found.kept_S.tolist()) == (0, [0])
