from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.actions import Action
from features.context import concatenate
from features.counters import DAY_MS, HOUR_MS
from features.item_table import ItemTable
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.igql.rankers import MEDIA_RANKERS
from tests.retrieval_svc.igql.running import accounts, actions, answer, person
from tests.retrieval_svc.worlds import NOW, catalogue_of, hand_made, likes, user

NEWEST = [302, 202, 102, 401, 301, 201, 101, 400, 300, 200, 100]
FRESH = "user.fresh(max_age=7d)"


def varied() -> ItemTable:
    """The hand-made world with gaps: 100 without score, 200 without duration, 300 without topic."""
    items = hand_made()
    items.non_recommendable_M[[0, 1, 2]] = [np.nan, 0.05, 0.15]
    items.duration_ms_M[[3, 4, 5]] = [np.nan, 3_000, 60_000]
    items.topic_M[6] = -1
    return items


@pytest.mark.parametrize(
    ("conditions", "left_out"),
    [
        ("non_recommendable_model_threshold=0.2", {100}),
        ("0.15", {100}),
        ("0.1", {100, 102}),
        ("0", {100, 101, 102, 200, 201, 202, 300, 301, 302, 400, 401}),
        ("max_age=87h", {100, 101, 200, 201, 300, 400}),
        ("max_age=86.9h", {100, 101, 200, 201, 300, 301, 400}),
        ("min_duration=9s", {200, 201}),
        ("min_duration=0.001s", {200}),
        ("max_duration=9s", {200, 202}),
        ("max_duration=1h", {200}),
        ("min_duration=4s, max_duration=30s", {200, 201, 202}),
        ("topics=food", {300, 301, 302, 400, 401}),
        ("topics=[food, art]", {300}),
        ("not_topics=food", {100, 101, 102, 200, 201, 202, 300}),
        ("topics=[food, art], not_topics=[art]", {300, 301, 302, 400, 401}),
        ("topics=food, max_duration=9s", {200, 202, 300, 301, 302, 400, 401}),
    ],
)
def test_only_media_for_which_every_condition_is_known_to_hold_stay(conditions: str, left_out: set[int]) -> None:
    config = SourcingConfig(missing_integrity_score="allow")
    found = answer(catalogue_of(varied()), f"{FRESH}.filter({conditions})", user(), config=config)
    assert found.media == [media for media in NEWEST if media not in left_out]
    assert found.dropped == {"filter": len(left_out), "not_recommendable": 1}


def test_without_an_integrity_model_a_missing_score_holds() -> None:
    items = replace(hand_made(), non_recommendable_M=np.full(12, np.nan, dtype=np.float32))
    assert len(answer(catalogue_of(items), f"{FRESH}.filter(0)", user()).media) == 12


def test_age_counts_from_the_request(catalogue: Catalogue) -> None:
    found = answer(catalogue, f"{FRESH}.filter(max_age=10h)", user(at_ms=NOW - 77 * HOUR_MS))
    assert found.media == [302, 202, 102, 401, 301]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("newest", NEWEST),
        ("trending", [302, 202, 102, 401, 301, 201, 101, 400, 300, 200, 100]),
        ("quality", [302, 202, 102, 401, 301, 201, 101, 400, 300, 200, 100]),
        ("two_tower", [300, 101, *[media for media in NEWEST if media not in (101, 300)]]),
    ],
)
def test_a_ranking_model_orders_by_its_own_score(catalogue: Catalogue, model: str, expected: list[int]) -> None:
    contexts = user(history=[(101, Action.LIKE, NOW - 1), (300, Action.SAVE, NOW - 1)])
    found = answer(catalogue, f"{FRESH}.rank({model})", contexts)
    assert found.media == expected
    scores = MEDIA_RANKERS[model](found.execution.run.audience, found.flow)
    assert found.scores == scores.tolist()
    assert np.all(np.diff(found.scores) <= 0)


def test_the_default_model_weighs_the_path_by_quality(catalogue: Catalogue) -> None:
    found = answer(catalogue, "user.liked().posted_media().rank()", user(history=likes(300, 301, 100)))
    quality_M = dict(zip(catalogue.items.media_id_M.tolist(), catalogue.orders.quality_M.tolist(), strict=True))
    path = {10: np.sqrt(0.5), 30: 1.0}
    expected = {media: path[media // 10] * (1 + quality_M[media]) / 2 for media in (100, 101, 102, 300, 301, 302)}
    assert found.media == sorted(expected, key=lambda media: -expected[media])
    assert found.scores == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-3)


def test_media_without_vector_and_users_without_taste_come_last_by_two_tower() -> None:
    items = hand_made()
    items.media_vector_MD[8] = 0
    found = answer(catalogue_of(items), f"{FRESH}.rank(two_tower)", user(history=likes(200)))
    assert (found.media[0], found.media[-1], found.scores[-1]) == (200, 302, -1.0)
    assert answer(catalogue_of(items), f"{FRESH}.rank(two_tower)", user()).media == NEWEST


def test_newest_tells_media_apart_that_came_within_a_blink() -> None:
    items = hand_made()
    items.created_at_ms_M[:] = NOW - 30 * DAY_MS + 10 * np.arange(12)
    found = answer(catalogue_of(items), "user.fresh(max_age=60d).sample(12).rank(newest)", user())
    assert found.media == [401, 400, 302, 301, 300, 202, 201, 200, 102, 101, 100]


def test_equal_scores_keep_their_order(catalogue: Catalogue) -> None:
    found = answer(catalogue, "user.followed().posted_media(2).rank(two_tower)", person(followed=[20, 10, 30]))
    assert found.media == [302, 301, 102, 101, 202, 201]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{FRESH}.limit(3)", [302, 202, 102]),
        (f"{FRESH}.limit(5).limit(2)", [302, 202]),
        (f"{FRESH}.limit(100)", NEWEST),
        ("user.trending().limit(2)", [302, 202]),
        (f"{FRESH}.filter(topics=food).limit(2)", [202, 102]),
        (f"{FRESH}.limit(2).filter(topics=food)", [202]),
        ("user.trending().limit(4).filter(topics=food).limit(1)", [202]),
    ],
)
def test_a_limit_is_the_first_so_many(catalogue: Catalogue, text: str, expected: list[int]) -> None:
    assert answer(catalogue, text, user()).media == expected


def test_a_limit_holds_for_every_user_and_for_actions_and_accounts(catalogue: Catalogue) -> None:
    together = concatenate([person("ann", likes(100, 200, 300)), person("bob"), person("cid", likes(400))])
    found = actions(catalogue, "user.liked().limit(2)", together)
    assert [found.of(b) for b in range(3)] == [[300, 200], [], [400]]
    assert accounts(catalogue, "user.followed().limit(2)", person(followed=[10, 20, 30])).accounts == [30, 20]


def test_what_a_step_drops_is_counted_by_its_name(catalogue: Catalogue) -> None:
    text = f"{FRESH}.filter(topics=food).diversify_by(author_id, max_per, 2).sample(3).limit(2)"
    assert answer(catalogue, text, user()).dropped == {
        "not_recommendable": 1,
        "filter": 5,
        "diversify_by": 2,
        "sample": 1,
        "limit": 1,
    }
