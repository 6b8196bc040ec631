from __future__ import annotations

import pytest

from features.actions import Action
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from tests.retrieval_svc.igql.running import answer, person
from tests.retrieval_svc.worlds import NOW, catalogue_of, hand_made, likes, user


def flagged() -> Catalogue:
    items = hand_made()
    items.policy_flags_M[[1, 2]] = [1, 2]
    return catalogue_of(type(items)(**{**vars(items), "policy_flags": ("nudity", "spam")}))


def test_every_reason_is_counted_once_by_the_first_rule_that_refuses() -> None:
    contexts = person(
        history=[(200, Action.HIDE, NOW - 1)], account=30, followed=[10, 20, 30, 40], muted=[10, 40], blocked=[40]
    )
    found = answer(flagged(), "user.fresh(max_age=7d)", contexts, seen=[302, 200, 100])
    assert found.media == []
    assert found.dropped == {
        "not_recommendable": 1,  # 402
        "policy_flag": 2,  # 101, 102
        "own_post": 3,
        "blocked_author": 2,  # 400, 401
        "muted_author": 1,  # 100
        "hidden_author": 3,
    }


@pytest.mark.parametrize(
    ("source", "count"), [("fresh(max_age=7d)", 12), ("trending()", 12), ("liked().posted_media()", 3)]
)
def test_whatever_finds_media_is_followed_by_the_rules(catalogue: Catalogue, source: str, count: int) -> None:
    found = answer(catalogue, f"user.{source}", user(history=likes(400)), seen=[401, 400])
    assert len(found.media) == count - 3
    assert found.dropped == {"not_recommendable": 1, "seen": 2}


def test_drops_are_counted_for_the_source_they_came_from(catalogue: Catalogue) -> None:
    text = "a = user.followed().posted_media()\nb = user.fresh(max_age=7d)\nunion(a, b)"
    found = answer(catalogue, text, person(followed=[40]), seen=[401, 100])
    assert found.flow.dropped["seen"].tolist() == [[1, 2]]
    assert found.flow.dropped["duplicate"].tolist() == [[0, 1]]
    assert found.flow.source_P.tolist() == [0] + [1] * 8


def test_the_rules_are_those_of_the_service() -> None:
    config = SourcingConfig(
        non_recommendable_threshold=1.0, allowed_policy_flags=frozenset({"spam"}), max_media_age_hours=86
    )
    found = answer(flagged(), "user.fresh(max_age=7d)", user(), config=config)
    assert found.media == [402, 302, 202, 102, 401]
    assert found.dropped == {"policy_flag": 1, "too_old": 6}


def test_the_future_does_not_exist_for_a_request_of_the_past(catalogue: Catalogue) -> None:
    at_ms = int(catalogue.items.created_at_ms_M[2])  # 102
    found = answer(catalogue, "user.trending()", user(at_ms=at_ms))
    assert found.media == [102, 401, 301, 201, 101, 400, 300, 200, 100]
    assert found.dropped == {"not_yet_published": 3}
