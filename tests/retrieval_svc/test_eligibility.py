from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.context import UserContexts, concatenate
from features.counters import HOUR_MS
from features.integrity import MissingScore
from features.relations import Relation
from features.user_state import Profile
from retrieval_svc.audience import Audience
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.eligibility import (
    ELIGIBLE,
    BlockedAuthor,
    Bool,
    HiddenAuthor,
    MutedAuthor,
    NotRecommendable,
    NotYetPublished,
    OwnPost,
    PolicyFlagged,
    Rule,
    Seen,
    TooOld,
    judge,
)
from serving.ragged import Int64
from tests.retrieval_svc.worlds import NOBODY_SAW, NOW, catalogue_of, hand_made, random_items, random_users, user


def audience_of(catalogue: Catalogue, contexts: UserContexts, seen: Sequence[int] = ()) -> Audience:
    users = len(contexts)
    return Audience.of(contexts, [np.array(seen, dtype=np.int64)] * users, np.full(users, 10), catalogue)


def refused(catalogue: Catalogue, rule: Rule, contexts: UserContexts, seen: Sequence[int] = ()) -> list[int]:
    """Media ids of the whole catalogue that the rule refuses to one user."""
    rows = np.arange(len(catalogue.items.media_id_M))
    rejected = rule.rejects(audience_of(catalogue, contexts, seen), np.zeros_like(rows), rows)
    return catalogue.items.media_id_M[rejected].tolist()


def posts_of(*accounts: int) -> list[int]:
    return [10 * account + i for account in accounts for i in range(3)]


def test_seen_media_are_refused_and_unknown_ids_are_harmless(catalogue: Catalogue) -> None:
    assert refused(catalogue, Seen(), user(), [301, 100, 301, 999, -1]) == [100, 301]


def test_what_one_user_saw_is_no_matter_to_another(catalogue: Catalogue) -> None:
    together = concatenate([user("ann"), user("bob"), user("cid")])
    seen_B = [np.array([100]), NOBODY_SAW, np.array([101, 100])]
    audience = Audience.of(together, seen_B, np.ones(3, dtype=np.int64), catalogue)
    user_P, row_P = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 0, 0, 1])
    assert Seen().rejects(audience, user_P, row_P).tolist() == [True, False, False, True, True]
    assert Seen().rejects(audience, user_P[[0, 3]], row_P[[0, 3]]).tolist() == [True, True]


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


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [((), [100, 101, 102]), (("spam",), [100, 102]), (("nudity", "spam"), [100]), (("other",), [100, 101, 102])],
)
def test_media_with_a_flag_that_nobody_allowed_are_refused(allowed: tuple[str, ...], expected: list[int]) -> None:
    items = replace(hand_made(), policy_flags=("gore", "nudity", "spam"))
    items.policy_flags_M[[0, 1, 2]] = [0b111, 0b100, 0b010]
    assert refused(catalogue_of(items), PolicyFlagged(frozenset(allowed)), user()) == expected


def test_the_last_of_32_flags_is_a_flag_like_any_other() -> None:
    items = replace(hand_made(), policy_flags=tuple(f"flag-{i:02}" for i in range(32)))
    items.policy_flags_M[[3, 4]] = [1 << 31, 1]
    assert refused(catalogue_of(items), PolicyFlagged(), user()) == [200, 201]
    assert refused(catalogue_of(items), PolicyFlagged(frozenset({"flag-31"})), user()) == [201]


def test_media_that_are_too_old_for_the_request_are_refused(catalogue: Catalogue) -> None:
    # 100 is 99 hours old, 200: 98, 300: 97, 400: 96, 101: 89 ...
    assert refused(catalogue, TooOld(97 * HOUR_MS), user()) == [100, 200]
    assert refused(catalogue, TooOld(97 * HOUR_MS - 1), user()) == [100, 200, 300]
    assert refused(catalogue, TooOld(97 * HOUR_MS), user(at_ms=NOW - 2 * HOUR_MS)) == []
    assert refused(catalogue, TooOld(None), user()) == []


def test_what_the_user_posted_is_refused(catalogue: Catalogue) -> None:
    assert refused(catalogue, OwnPost(), user(profile=Profile(account_id=20))) == posts_of(20)
    assert refused(catalogue, OwnPost(), user(profile=Profile(account_id=999))) == []
    assert refused(catalogue, OwnPost(), user()) == []


def test_everything_of_a_muted_or_blocked_author_is_refused(catalogue: Catalogue) -> None:
    contexts = user(relations={Relation.MUTED: [40, 999, 10], Relation.BLOCKED: [30], Relation.FOLLOWED: [20, 10]})
    assert refused(catalogue, MutedAuthor(), contexts) == posts_of(10, 40)
    assert refused(catalogue, BlockedAuthor(), contexts) == posts_of(30)
    assert refused(catalogue, MutedAuthor(), user()) == refused(catalogue, BlockedAuthor(), user()) == []


def test_whom_one_user_avoids_is_no_matter_to_another(catalogue: Catalogue) -> None:
    users = [
        user("ann", relations={Relation.BLOCKED: [10]}, profile=Profile(account_id=20)),
        user("bob", relations={Relation.MUTED: [20]}),
        user("cid", [(300, Action.HIDE, NOW - 1)], relations={Relation.BLOCKED: [20]}),
    ]
    audience = audience_of(catalogue, concatenate(users))
    user_P, row_P = np.repeat(np.arange(3), 12), np.tile(np.arange(12), 3)
    for rule in (OwnPost(), BlockedAuthor(), MutedAuthor(), HiddenAuthor()):
        together = rule.rejects(audience, user_P, row_P).reshape(3, 12)
        alone = [rule.rejects(audience_of(catalogue, each), np.zeros_like(row_P[:12]), row_P[:12]) for each in users]
        assert together.tolist() == [each.tolist() for each in alone]


def test_everything_of_a_hidden_author_is_refused(catalogue: Catalogue) -> None:
    history = [(101, Action.LIKE, 1), (100, Action.HIDE, 2), (302, Action.REPORT, 3)]
    assert refused(catalogue, HiddenAuthor(), user(history=history)) == posts_of(10, 30)


def test_media_from_after_the_request_are_refused(catalogue: Catalogue) -> None:
    at_ms = int(catalogue.items.created_at_ms_M[2])  # 102
    assert refused(catalogue, NotYetPublished(), user(at_ms=at_ms)) == [202, 302, 402]
    assert (
        refused(catalogue, NotYetPublished(), user(at_ms=NOW - 1000 * HOUR_MS)) == catalogue.items.media_id_M.tolist()
    )


def test_the_first_rule_that_refuses_gives_the_reason(catalogue: Catalogue) -> None:
    audience = audience_of(catalogue, user(), [402, 100])
    rows = np.array([0, 1, 11])
    assert judge([NotRecommendable(0.2), Seen()], audience, np.zeros_like(rows), rows).tolist() == [1, ELIGIBLE, 0]


@settings(max_examples=15)
@given(st.integers(0, 1_000))
def test_all_rules_together_as_plain_python_says(seed: int) -> None:
    catalogue = catalogue_of(random_items(seed % 5))
    items = catalogue.items
    contexts, seen_B = random_users(items, seed, 2)
    audience = Audience.of(contexts, seen_B, np.ones(2, dtype=np.int64), catalogue)
    rules = SourcingConfig(max_media_age_hours=480).rules()
    user_P, row_P = np.repeat([0, 1], 300), np.tile(np.arange(300), 2)
    found = judge(rules, audience, user_P, row_P)
    for b, row, reason in zip(user_P.tolist(), row_P.tolist(), found.tolist(), strict=True):
        mine = slice(contexts.relation_offsets[b], contexts.relation_offsets[b + 1])
        author = items.account_id_U[items.author_row_M[row]]
        related = contexts.relation_kind_R[mine][contexts.relation_account_id_R[mine] == author].tolist()
        past = slice(contexts.history_offsets[b], contexts.history_offsets[b + 1])
        disliked = items.rows(contexts.history_media_id_H[past][contexts.history_action_H[past] >= Action.HIDE])
        reasons = {
            "not_yet_published": items.created_at_ms_M[row] > NOW,
            "not_recommendable": not items.non_recommendable_M[row] <= 0.2,
            "too_old": items.created_at_ms_M[row] < NOW - 480 * HOUR_MS,
            "own_post": contexts.account_id_B[b] == author,
            "blocked_author": Relation.BLOCKED in related,
            "muted_author": Relation.MUTED in related,
            "hidden_author": items.author_row_M[row] in items.author_row_M[disliked[disliked >= 0]],
            "seen": items.media_id_M[row] in seen_B[b],
        }
        assert (rules[reason].reason if reason != ELIGIBLE else None) == next(
            (name for name, holds in reasons.items() if holds), None
        )


def test_a_rule_that_does_not_answer_for_all_is_named(catalogue: Catalogue) -> None:
    @dataclass(frozen=True)
    class Lazy:
        reason: str = "lazy"

        def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
            return np.zeros(1, dtype=np.bool_)

    with pytest.raises(ValueError, match="rule 'lazy' answered"):
        judge([Lazy()], audience_of(catalogue, user()), np.zeros(3, dtype=np.int64), np.arange(3))


def test_an_audience_says_how_many_everybody_wants_and_has_seen(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="1 users, but 2 lists of seen media and 1 counts"):
        Audience.of(user(), [NOBODY_SAW] * 2, np.array([5]), catalogue)
    with pytest.raises(ValueError, match="1 users, but 1 lists of seen media and 0 counts"):
        Audience.of(user(), [NOBODY_SAW], np.empty(0, dtype=np.int64), catalogue)
