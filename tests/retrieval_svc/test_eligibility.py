from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from features.actions import Action
from features.context import UserContexts
from features.counters import HOUR_MS
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.eligibility import (
    ELIGIBLE,
    Audience,
    Bool,
    HiddenAuthor,
    MissingScore,
    NotRecommendable,
    NotYetPublished,
    Rule,
    Seen,
    judge,
)
from retrieval_svc.ragged import Int64
from tests.retrieval_svc.worlds import NOBODY_SAW, NOW, catalogue_of, hand_made, user


def refused(catalogue: Catalogue, rule: Rule, contexts: UserContexts, seen: Sequence[int] = ()) -> list[int]:
    """Media ids of the whole catalogue that the rule refuses to one user."""
    audience = Audience.of(contexts, [np.array(seen, dtype=np.int64)], catalogue)
    rows = np.arange(len(catalogue.items.media_id_M))
    return catalogue.items.media_id_M[rule.rejects(audience, np.zeros_like(rows), rows)].tolist()


def test_seen_media_are_refused_and_unknown_ids_are_harmless(catalogue: Catalogue) -> None:
    assert refused(catalogue, Seen(), user(), [301, 100, 301, 999, -1]) == [100, 301]


def test_what_one_user_saw_is_no_matter_to_another(catalogue: Catalogue) -> None:
    audience = Audience.of(user(), [np.array([100])], catalogue)
    assert Seen().rejects(audience, np.array([0, 1]), np.array([0, 0])).tolist() == [True, False]


def test_media_above_the_threshold_are_refused(catalogue: Catalogue) -> None:
    assert refused(catalogue, NotRecommendable(0.2), user()) == [402]
    assert refused(catalogue, NotRecommendable(0.9), user()) == []


@pytest.mark.parametrize(("missing", "expected"), [("auto", [100, 402]), ("deny", [100, 402]), ("allow", [402])])
def test_a_missing_score_fails_closed_unless_allowed(missing: MissingScore, expected: list[int]) -> None:
    items = hand_made()
    items.non_recommendable_M[0] = np.nan
    assert refused(catalogue_of(items), NotRecommendable(0.2, missing), user()) == expected


@pytest.mark.parametrize(("missing", "expected"), [("auto", 0), ("allow", 0), ("deny", 12)])
def test_a_catalogue_without_any_score_has_no_integrity_model(missing: MissingScore, expected: int) -> None:
    bare = catalogue_of(replace(hand_made(), non_recommendable_M=np.full(12, np.nan, dtype=np.float32)))
    assert len(refused(bare, NotRecommendable(0.2, missing), user())) == expected


def test_everything_of_a_hidden_author_is_refused(catalogue: Catalogue) -> None:
    history = [(101, Action.LIKE, 1), (100, Action.HIDE, 2), (302, Action.REPORT, 3)]
    assert refused(catalogue, HiddenAuthor(), user(history=history)) == [100, 101, 102, 300, 301, 302]


def test_media_from_after_the_request_are_refused(catalogue: Catalogue) -> None:
    at_ms = int(catalogue.items.created_at_ms_M[2])  # 102
    assert refused(catalogue, NotYetPublished(), user(at_ms=at_ms)) == [202, 302, 402]
    assert (
        refused(catalogue, NotYetPublished(), user(at_ms=NOW - 1000 * HOUR_MS)) == catalogue.items.media_id_M.tolist()
    )


def test_the_first_rule_that_refuses_gives_the_reason(catalogue: Catalogue) -> None:
    audience = Audience.of(user(), [np.array([402, 100])], catalogue)
    rows = np.array([0, 1, 11])
    assert judge([NotRecommendable(0.2), Seen()], audience, np.zeros_like(rows), rows).tolist() == [1, ELIGIBLE, 0]


def test_a_rule_that_does_not_answer_for_all_is_named(catalogue: Catalogue) -> None:
    @dataclass(frozen=True)
    class Lazy:
        reason: str = "lazy"

        def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
            return np.zeros(1, dtype=np.bool_)

    audience = Audience.of(user(), [NOBODY_SAW], catalogue)
    with pytest.raises(ValueError, match="rule 'lazy' answered"):
        judge([Lazy()], audience, np.zeros(3, dtype=np.int64), np.arange(3))
