from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.context import concatenate
from features.counters import DAY_MS, HOUR_MS
from retrieval_svc.catalogue import Catalogue
from tests.retrieval_svc.igql.running import answer, catalogue_with, easy_going, lists, person
from tests.retrieval_svc.worlds import NOW, catalogue_of, hand_made, likes, random_items, random_users, user

CATALOGUE = catalogue_of(random_items(3))
BEST_FIRST = [302, 202, 102, 401, 301, 201, 101, 400, 300, 200, 100]  # 402 may not be recommended


def allowed(rows: list[int]) -> list[int]:
    """Media ids of the rows that may be recommended to everybody."""
    items = CATALOGUE.items
    fine_M = (items.created_at_ms_M <= NOW) & (items.non_recommendable_M <= 0.2)
    return [int(items.media_id_M[row]) for row in rows if fine_M[row]]


def test_trending_is_what_is_liked_most_per_impression(catalogue: Catalogue) -> None:
    found = answer(catalogue, "user.trending()", user())
    assert (found.media, set(found.seeds)) == (BEST_FIRST, {0})
    assert np.all(np.diff(found.scores) <= 0)
    assert answer(catalogue, "user.trending()", user(), count=3).media == BEST_FIRST[:3]


@pytest.mark.parametrize(("window", "place"), [("24h", 0), ("2d", 1), ("1w", 2)])
def test_trending_inside_a_window_goes_by_the_values_of_the_window(window: str, place: int) -> None:
    value_M = CATALOGUE.tables.window_value_WM[place]
    found = answer(CATALOGUE, f"user.trending(window={window})", user())
    assert found.media == allowed(np.argsort(-value_M, kind="stable").tolist())
    assert found.scores == value_M[found.flow.row_P].tolist()


def test_trending_never_ends_until_nothing_is_left(catalogue: Catalogue) -> None:
    everything = catalogue.items.media_id_M.tolist()
    assert answer(catalogue, "user.trending()", user(), seen=everything[:8]).media == [302, 401, 400]
    assert answer(catalogue, "user.trending()", user(), seen=everything).media == []


def test_topics_get_places_by_what_the_user_did_in_them(catalogue: Catalogue) -> None:
    at = NOW - 1
    history = [(100, Action.SAVE, at), (300, Action.CLICK, at)]  # food weighs 3, art 1
    found = answer(catalogue, "user.topic_trending(max_num_to_retrieve=4)", user(history=history))
    assert found.media == [202, 102, 201]  # the one place of art is that of 402
    found = answer(catalogue, "user.topic_trending(max_num_to_retrieve=8)", user(history=history))
    assert found.media == [202, 102, 201, 101, 200, 302, 100]
    assert found.scores == pytest.approx(
        [1 - (k + 0.5) / n for k, n in ((0, 6), (1, 6), (2, 6), (3, 6), (4, 6), (1, 2), (5, 6))]
    )


def test_only_the_heaviest_topics_count(catalogue: Catalogue) -> None:
    history = [(100, Action.SAVE, NOW - 1), (300, Action.CLICK, NOW - 1)]
    found = answer(catalogue, "user.topic_trending(max_topics=1, max_num_to_retrieve=3)", user(history=history))
    assert found.media == [202, 102, 201]


def test_topics_that_the_user_dislikes_get_no_places(catalogue: Catalogue) -> None:
    history = [(100, Action.CLICK, NOW - 2), (100, Action.HIDE, NOW - 1), (300, Action.CLICK, NOW - 1)]
    assert answer(catalogue, "user.topic_trending(max_num_to_retrieve=3)", user(history=history)).media == [302, 401]
    assert answer(catalogue, "user.topic_trending()", user()).media == []


@settings(max_examples=20)
@given(st.integers(0, 1_000), st.integers(1, 4), st.integers(1, 200), st.sampled_from([None, "48h"]))
def test_topic_trending_as_plain_python_says(seed: int, topics: int, most: int, window: str | None) -> None:
    contexts = easy_going(random_users(CATALOGUE.items, seed, 3)[0])
    at = f", window={window}" if window else ""
    found = answer(CATALOGUE, f"user.topic_trending(max_topics={topics}, max_num_to_retrieve={most}{at})", contexts)
    history, items = found.execution.run.audience.history, CATALOGUE.items
    value_M = CATALOGUE.trends(2 * DAY_MS if window else None).value_M
    for b in range(3):
        weight_T = [float(history.weight_BL[b, history.topic_BL[b] == topic].sum()) for topic in range(5)]
        heaviest = sorted(range(5), key=lambda topic: -weight_T[topic])[:topics]
        total = sum(weight_T[topic] for topic in heaviest)
        mine = found.of(b)
        for topic in heaviest:
            listed = [row for row in np.argsort(-value_M, kind="stable").tolist() if items.topic_M[row] == topic]
            got = [media for media in mine if items.topic_M[items.rows(np.array([media]))[0]] == topic]
            exact = most * weight_T[topic] / total if total else 0
            assert got in [allowed(listed[: int(slots)]) for slots in (np.floor(exact), np.floor(exact) + 1)]
        mine_score = found.flow.score_P[found.flow.user_P == b]
        assert np.all(np.diff(mine_score) <= 0)
        assert set(items.topic_M[items.rows(np.array(mine, dtype=np.int64))].tolist()) <= set(heaviest)


def test_a_segment_gets_what_its_users_like_most() -> None:
    catalogue = catalogue_with(hand_made(), segment_media=lists([3, 0, 8], [7]))
    users = [person("ann", segment="active"), person("bob", segment="new"), person("cid"), person("dan", segment="old")]
    found = answer(catalogue, "user.segment_trending(max_num_to_retrieve=4)", concatenate(users))
    assert [found.of(b) for b in range(4)] == [[200, 100, 302], [301], [], []]
    assert found.scores == [0.875, 0.625, 0.375, 0.875]
    assert answer(catalogue, "user.segment_trending(2)", users[0]).media == [200, 100]


def test_fresh_is_what_is_new_newest_first(catalogue: Catalogue) -> None:
    # 402 is 76 hours old, then 302: 77, 202: 78, 102: 79, 401: 86, 301: 87 ...
    assert answer(catalogue, "user.fresh(max_age=86h)", user()).media == [302, 202, 102, 401]
    assert answer(catalogue, "user.fresh(max_age=85.9h)", user()).media == [302, 202, 102]
    assert answer(catalogue, "user.fresh(max_age=76h)", user()).media == []
    assert answer(catalogue, "user.fresh(max_age=1w, max_num_to_retrieve=3)", user()).media == [302, 202]
    found = answer(catalogue, "user.fresh(max_age=100h)", user())
    assert found.scores[:2] == pytest.approx([0.23, 0.22])


def test_fresh_goes_by_the_time_of_the_request_and_never_shows_the_future(catalogue: Catalogue) -> None:
    together = concatenate([user("ann"), user("bob", at_ms=NOW - 80 * HOUR_MS), user("cid", at_ms=NOW - 200 * HOUR_MS)])
    found = answer(catalogue, "user.fresh(max_age=79h)", together)
    assert [found.of(b) for b in range(3)] == [[302, 202, 102], [401, 301, 201, 101, 400, 300, 200, 100], []]
    assert "not_yet_published" not in found.dropped


@settings(max_examples=20)
@given(st.integers(-3, 40), st.integers(1, 40), st.integers(1, 300))
def test_fresh_as_plain_python_says(days_ago: int, max_age: int, most: int) -> None:
    at_ms = NOW - days_ago * DAY_MS
    created_M = CATALOGUE.items.created_at_ms_M
    found = answer(CATALOGUE, f"user.fresh({max_age}d, {most})", user(at_ms=at_ms))
    new = [
        row for row in np.argsort(-created_M, kind="stable").tolist() if 0 <= at_ms - created_M[row] <= max_age * DAY_MS
    ]
    risk_M = CATALOGUE.items.non_recommendable_M
    assert found.media == [int(CATALOGUE.items.media_id_M[row]) for row in new[:most] if risk_M[row] <= 0.2]


def test_pools_do_not_depend_on_who_else_asks(catalogue: Catalogue) -> None:
    users = [
        person("ann", likes(100), segment="new"),
        person("bob", likes(300), at_ms=NOW - 80 * HOUR_MS),
        person("cid"),
    ]
    for pool in ("trending()", "topic_trending(max_num_to_retrieve=5)", "segment_trending()", "fresh(max_age=90h)"):
        together = answer(catalogue, f"user.{pool}", concatenate(users))
        assert [together.of(b) for b in range(3)] == [answer(catalogue, f"user.{pool}", each).media for each in users]
