"""Every dense feature against its meaning, and the properties that all of them share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.actions import N_ACTIONS, Action
from features.assemble import assemble, candidate_view
from features.context import concatenate
from features.dense import FEATURES, NEUTRAL_POSITION
from features.item_table import ItemTable
from features.schema import Scope
from features.view import View
from tests.features import naive
from tests.features.worlds import DAY, KNOWN_MEDIA, NOW, USERS, User, contexts_of, item_table

HOUR = DAY // 24
ITEMS = item_table()
NAMES = [feature.name for feature in FEATURES]


def view_of(users: list[User], items: ItemTable = ITEMS, position: float | None = None) -> View:
    """Every media item of the table as a candidate of every user."""
    row_N = np.tile(np.arange(len(KNOWN_MEDIA)), len(users))
    user_N = np.repeat(np.arange(len(users)), len(KNOWN_MEDIA))
    position_N = None if position is None else np.full(len(row_N), position, dtype=np.float32)
    return candidate_view(contexts_of(users), items, row_N, user_N, position_N)


def feature(name: str, user: User, media_id: int = 10) -> float:
    dense_NF = assemble(view_of([user]), FEATURES)
    return float(dense_NF[KNOWN_MEDIA.index(media_id), NAMES.index(name)])


@settings(max_examples=150, deadline=None)
@example(User(history=[(10, Action.HIDE, 375), (10, Action.SAVE, 1)]), 0.0, 0)  # a taste that is nothing but rounding
@given(USERS, st.sampled_from([0.0, 3.0, np.nan]), st.integers(0, 20))
def test_every_feature_equals_its_naive_computation(user: User, position: float, seed: int) -> None:
    items = item_table(seed)
    dense_NF = assemble(view_of([user], items, position), FEATURES)
    for row, media_id in enumerate(KNOWN_MEDIA):
        expected = naive.dense(user, items, media_id, position)
        assert list(expected) == NAMES
        np.testing.assert_allclose(dense_NF[row], list(expected.values()), rtol=1e-4, atol=2e-5, err_msg=str(expected))


@settings(max_examples=50, deadline=None)
@given(st.lists(USERS, min_size=1, max_size=4))
def test_a_users_features_do_not_depend_on_who_else_is_in_the_batch(users: list[User]) -> None:
    together = assemble(view_of(users), FEATURES)
    alone = np.concatenate([assemble(view_of([user]), FEATURES) for user in users])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.lists(USERS, min_size=2, max_size=4), st.sampled_from([1, 30, 200]), st.booleans())
def test_many_candidates_get_to_the_last_bit_what_each_gets_alone(users: list[User], times: int, mixed: bool) -> None:
    """Sums and vectors of many candidates are shared and computed user by user; those of few, or of mixed users, are not."""
    count = len(KNOWN_MEDIA) * times
    row_N = np.tile(np.arange(len(KNOWN_MEDIA)), len(users) * times)
    user_N = np.tile(np.arange(len(users)), count) if mixed else np.repeat(np.arange(len(users)), count)
    together = assemble(candidate_view(contexts_of(users), ITEMS, row_N, user_N), FEATURES)
    for number, user in enumerate(users):
        for row in range(len(KNOWN_MEDIA)):
            alone = assemble(candidate_view(contexts_of([user]), ITEMS, np.array([row]), np.array([0])), FEATURES)
            mine_N = (row_N == row) & (user_N == number)
            assert np.array_equal(together[mine_N], np.repeat(alone, mine_N.sum(), axis=0), equal_nan=True)


def test_concatenated_contexts_give_the_features_of_one_batch() -> None:
    users = [User(), User([(10, Action.LIKE, HOUR)]), User([(30, Action.HIDE, DAY), (10, Action.CLICK, HOUR)])]
    joined = concatenate([contexts_of([user]) for user in users])
    view = view_of(users)
    again = candidate_view(joined, ITEMS, view.row_N, view.user_N)
    np.testing.assert_array_equal(assemble(view, FEATURES), assemble(again, FEATURES))


def test_serving_asks_about_the_top_of_the_page() -> None:
    assert feature("position", User()) == NEUTRAL_POSITION


def test_an_unknown_position_stays_missing() -> None:
    assert np.isnan(assemble(view_of([User()], position=np.nan), FEATURES)[:, NAMES.index("position")]).all()


def test_a_user_without_history_has_missing_tastes_and_no_zero_tastes() -> None:
    names = (
        "author_liked",
        "author_disliked",
        "topic_share",
        "topic_intent",
        "topic_disliked",
        "user_hours_since_action",
    )
    assert all(np.isnan(feature(name, User())) for name in names)
    assert all(np.isnan(feature(f"{kind}_affinity", User())) for kind in ("media", "account", "intent"))


def test_a_history_of_unknown_media_says_when_but_not_what() -> None:
    user = User([(99, Action.LIKE, HOUR)])
    assert feature("user_hours_since_action", user) == 1
    assert feature("user_actions_1h", user) == 1
    assert np.isnan(feature("author_liked", user))
    assert np.isnan(feature("media_affinity", user))


def test_liking_something_else_is_zero_and_not_missing() -> None:
    user = User([(30, Action.LIKE, HOUR)])
    assert feature("author_liked", user) == 0
    assert feature("topic_share", user) == 0


def test_an_item_without_vector_has_missing_affinities() -> None:
    user = User([(10, Action.LIKE, HOUR)])
    assert np.isnan(feature("media_affinity", user, media_id=60))
    assert np.isnan(feature("intent_affinity", user, media_id=60))
    assert np.isnan(feature("account_affinity", user, media_id=60))


def test_items_without_topic_share_none_with_each_other() -> None:
    assert feature("topic_share", User([(60, Action.LIKE, HOUR)]), media_id=60) == 0


def test_a_profile_count_of_zero_is_not_a_missing_one() -> None:
    assert feature("user_n_following", User(n_following=0)) == 0
    assert np.isnan(feature("user_n_following", User()))


def test_a_registration_after_the_request_is_age_zero() -> None:
    assert feature("user_account_age_days", User(registered_at_ms=NOW + DAY)) == 0


def test_a_hide_takes_from_the_taste_and_counts_as_dislike() -> None:
    user = User([(10, Action.HIDE, 1)])
    assert feature("author_disliked", user) == pytest.approx(3)
    assert feature("media_affinity", user) == pytest.approx(-1)
    assert np.isnan(feature("topic_share", user))


def test_tastes_keep_their_length_after_months_without_an_action() -> None:
    user = User([(10, Action.LIKE, 300 * DAY)])
    assert feature("media_affinity", user) == pytest.approx(1)
    assert feature("topic_share", user) == pytest.approx(1)


@pytest.mark.parametrize("age_ms", [1, 2_000 * DAY, 50 * 365 * DAY])
def test_any_age_gives_finite_or_missing_values(age_ms: int) -> None:
    user = User([(10, Action.LIKE, age_ms)], counts=(2**32 - 1,) * N_ACTIONS, registered_at_ms=0)
    assert not np.isinf(assemble(view_of([user]), FEATURES)).any()


@pytest.mark.parametrize("time_ms", [1, 253_402_300_799_000])
def test_requests_of_1970_and_of_9999_give_finite_or_missing_values(time_ms: int) -> None:
    assert not np.isinf(assemble(view_of([User([(10, Action.LIKE, 1)], time_ms=time_ms)]), FEATURES)).any()


def test_an_action_with_a_later_time_than_the_request_counts_as_just_now() -> None:
    assert feature("user_hours_since_action", User([(10, Action.LIKE, -HOUR)])) == 0


def test_no_candidates_give_an_empty_matrix() -> None:
    none = np.empty(0, dtype=np.int64)
    for users in ([], [User()]):
        assert assemble(candidate_view(contexts_of(users), ITEMS, none, none), FEATURES).shape == (0, len(FEATURES))


@pytest.mark.parametrize("row", [-1, 6])
def test_a_candidate_that_the_table_does_not_hold_is_refused(row: int) -> None:
    with pytest.raises(ValueError, match="drop unknown media"):
        candidate_view(contexts_of([User()]), ITEMS, np.array([row]), np.array([0]))


def test_a_candidate_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"user_N must lie in 0\.\.0"):
        candidate_view(contexts_of([User()]), ITEMS, np.array([0]), np.array([1]))


@settings(max_examples=50, deadline=None)
@given(USERS)
def test_user_and_request_features_are_the_same_for_all_candidates(user: User) -> None:
    dense_NF = assemble(view_of([user]), FEATURES)
    same = [f.scope in (Scope.USER, Scope.REQUEST) for f in FEATURES]
    np.testing.assert_array_equal(dense_NF[:, same], np.broadcast_to(dense_NF[0, same], (6, sum(same))))


@settings(max_examples=50, deadline=None)
@given(USERS, USERS)
def test_item_features_do_not_depend_on_the_user(one: User, other: User) -> None:
    other = replace(other, time_ms=one.time_ms)
    of_item = [f.scope is Scope.ITEM for f in FEATURES]
    dense_NF, other_NF = (assemble(view_of([user]), FEATURES)[:, of_item] for user in (one, other))
    np.testing.assert_array_equal(dense_NF, other_NF)
