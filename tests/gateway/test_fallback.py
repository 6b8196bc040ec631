"""Popular media for the time when sourcing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.actions import Action
from features.context import UserContexts
from features.integrity import MissingScore
from features.relations import Relation
from features.user_state import EMPTY, HISTORY_RECORD, Profile, UserState
from gateway.fallback import PopularMedia
from serving.takedowns import read_takedowns
from serving.watched import WatchedFile
from tests.gateway.feeds import AS_OF_MS
from tests.gateway.feeds import popular_items as _items

NOTHING_SEEN = np.empty(0, dtype=np.int64)


def _user(state: UserState = EMPTY) -> UserContexts:
    return state.context("42", AS_OF_MS, "explore")


def _acted(action: Action, media_id: int) -> UserState:
    return replace(EMPTY, history_H=np.array([(media_id, action, AS_OF_MS - 1)], dtype=HISTORY_RECORD))


def _related(relation: Relation, account_id: int) -> UserState:
    return replace(EMPTY, relations={**EMPTY.relations, relation: np.array([account_id])})


def test_the_most_engaging_come_first() -> None:
    assert PopularMedia.from_items(_items([1, 9, 5], [0, 0, 0])).media_id_P.tolist() == [2, 3, 1]


def test_what_may_not_be_recommended_is_left_out() -> None:
    assert PopularMedia.from_items(_items([1, 9, 5], [0, 0.9, 0])).media_id_P.tolist() == [3, 1]


def test_a_missing_integrity_score_is_no_permission() -> None:
    assert PopularMedia.from_items(_items([1, 9], [0, np.nan])).media_id_P.tolist() == [1]


def test_an_installation_without_integrity_model_still_has_popular_media() -> None:
    assert PopularMedia.from_items(_items([1, 9], [np.nan, np.nan])).media_id_P.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("missing", "some_have_one", "none_has_one"), [("auto", [1], [2, 1]), ("allow", [2, 1], [2, 1]), ("deny", [1], [])]
)
def test_a_missing_integrity_score_means_what_the_installation_says(
    missing: MissingScore, some_have_one: list[int], none_has_one: list[int]
) -> None:
    some, none = _items([1, 9], [0, np.nan]), _items([1, 9], [np.nan, np.nan])
    assert PopularMedia.from_items(some, missing=missing).media_id_P.tolist() == some_have_one
    assert PopularMedia.from_items(none, missing=missing).media_id_P.tolist() == none_has_one


def test_media_that_are_too_old_are_left_out_by_the_time_of_the_request() -> None:
    items = _items([1, 9, 5], [0, 0, 0], [AS_OF_MS, AS_OF_MS - 10, AS_OF_MS - 11])
    popular = PopularMedia.from_items(items, max_age_ms=10)
    assert popular.media_id_P.tolist() == [2, 1]
    later = EMPTY.context("42", AS_OF_MS + 1, "explore")
    assert popular.candidates(_user(), NOTHING_SEEN, 3).media_id_N.tolist() == [2, 1]
    assert popular.candidates(later, NOTHING_SEEN, 3).media_id_N.tolist() == [1]


def test_media_that_are_not_published_yet_are_left_out() -> None:
    assert PopularMedia.from_items(_items([1, 9], [0, 0], [0, AS_OF_MS + 1])).media_id_P.tolist() == [1]


def test_seen_media_are_not_offered_again() -> None:
    popular = PopularMedia.from_items(_items([1, 9, 5], [0, 0, 0]))
    assert popular.candidates(_user(), np.array([2]), 5).media_id_N.tolist() == [3, 1]


def test_fallback_candidates_are_unscored_and_name_their_source() -> None:
    found = PopularMedia.from_items(_items([1], [0])).candidates(_user(), NOTHING_SEEN, 5)
    assert np.isnan(found.score_N).all()
    assert (found.sources, found.author_id_N.tolist()) == (("popular_fallback",), [77])


def test_an_empty_catalogue_gives_no_candidates() -> None:
    items = replace(_items([1], [0.9]))
    assert len(PopularMedia.from_items(items).candidates(_user(), NOTHING_SEEN, 5)) == 0


def test_media_with_any_policy_flag_are_left_out() -> None:
    assert PopularMedia.from_items(_items([1, 9, 5], [0, 0, 0], flags=[0, 1, 2])).media_id_P.tolist() == [1]


@pytest.mark.parametrize(
    "state",
    [
        _related(Relation.BLOCKED, 78),
        _related(Relation.MUTED, 78),
        _acted(Action.HIDE, 4),
        _acted(Action.REPORT, 4),
        replace(EMPTY, profile=Profile(account_id=78)),
    ],
    ids=["blocked", "muted", "hidden", "reported", "own"],
)
def test_accounts_that_the_user_must_not_be_shown_are_left_out(state: UserState) -> None:
    # Medium 4 was hidden or reported. It is no popular one itself, but its author has others that are.
    items = _items([1, 9, 5, 3], [0, 0, 0, 0.9], author_rows=[0, 1, 0, 1])
    found = PopularMedia.from_items(items).candidates(_user(state), NOTHING_SEEN, 5)
    assert (found.media_id_N.tolist(), found.author_id_N.tolist()) == ([3, 1], [77, 77])


@pytest.mark.parametrize(
    "state",
    [_related(Relation.FOLLOWED, 78), _acted(Action.LIKE, 4), _acted(Action.HIDE, 99)],
    ids=["followed", "liked", "hidden, but unknown here"],
)
def test_other_accounts_stay(state: UserState) -> None:
    items = _items([1, 9, 5, 3], [0, 0, 0, 0.9], author_rows=[0, 1, 0, 1])
    found = PopularMedia.from_items(items).candidates(_user(state), NOTHING_SEEN, 5)
    assert found.media_id_N.tolist() == [2, 3, 1]


def test_the_count_is_reached_although_the_best_are_refused() -> None:
    items = _items([9, 8, 2, 1], [0, 0, 0, 0], author_rows=[1, 1, 0, 0])
    found = PopularMedia.from_items(items).candidates(_user(_related(Relation.BLOCKED, 78)), NOTHING_SEEN, 2)
    assert found.media_id_N.tolist() == [3, 4]


def test_what_is_taken_down_is_left_out_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "takedowns.txt"
    file.touch()
    items = _items([1, 9, 5], [0, 0, 0])
    popular = PopularMedia.from_items(items, takedowns=WatchedFile(file, read_takedowns))
    assert popular.candidates(_user(), NOTHING_SEEN, 3).media_id_N.tolist() == [2, 3, 1]
    file.write_text("media 3\n")
    assert popular.candidates(_user(), NOTHING_SEEN, 3).media_id_N.tolist() == [2, 1]
    file.write_text(f"account {items.account_id_U[items.author_row_M[1]]}\n")
    assert 2 not in popular.candidates(_user(), NOTHING_SEEN, 3).media_id_N
