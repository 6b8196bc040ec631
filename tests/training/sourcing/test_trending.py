"""Values per window and the lists of segments against loops over the events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.counters import DAY_MS
from features.history import ACTION_WEIGHT
from features.view import PRIOR_IMPRESSIONS
from tests.training.logs import MINUTE, Event
from tests.training.sourcing.worlds import AS_OF_MINUTE, EVENTS, MEDIA, USERS, World, world
from training.errors import ConfigError
from training.sourcing.config import SourcingConfig
from training.sourcing.trending import Trends, trends

IDS = sorted(MEDIA)
CONFIG = SourcingConfig(windows_ms=(10 * MINUTE, 30 * MINUTE))
SEGMENTS = st.fixed_dictionaries({user: st.sampled_from([None, "new", "old"]) for user in USERS})


def made_of(made: World, config: SourcingConfig = CONFIG) -> Trends:
    return trends(made.log, made.items, made.users, config)


def average_value(made: World) -> float:
    value_A = np.array([ACTION_WEIGHT.get(action, 0.0) for action in Action])
    return float(made.items.base_rate_A[1:] @ value_A)


def naive_value(events: list[Event], prior: list[float]) -> list[float]:
    values = []
    for media, expected in zip(IDS, prior, strict=True):
        own = [event.action for event in events if event.media == media]
        value = sum(ACTION_WEIGHT.get(action, 0.0) for action in own)
        values.append((value + PRIOR_IMPRESSIONS * expected) / (own.count(Action.IMPRESSION) + PRIOR_IMPRESSIONS))
    return values


@given(EVENTS)
@settings(max_examples=80, deadline=None)
def test_windows_hold_their_own_events_only(events: list[Event]) -> None:
    made = world(events)
    found = made_of(made)
    average = [average_value(made)] * len(IDS)
    for window_ms, value_M in zip(found.windows_ms, found.value_WM, strict=True):
        inside = [event for event in made.past if event.minute >= AS_OF_MINUTE - window_ms // MINUTE]
        assert value_M.tolist() == pytest.approx(naive_value(inside, average), rel=1e-6)
    assert (found.value_WM.dtype.name, found.value_WM.shape) == ("float32", (2, len(IDS)))


@given(EVENTS, SEGMENTS, st.integers(1, 7))
@settings(max_examples=80, deadline=None)
def test_segments_start_from_what_everybody_likes(
    events: list[Event], segments: dict[str, str | None], per_segment: int
) -> None:
    made = world(events, segments)
    found = made_of(made, SourcingConfig(windows_ms=(30 * MINUTE, 10 * MINUTE), per_segment=per_segment))
    inside = [event for event in made.past if event.minute >= AS_OF_MINUTE - 30]
    everybody = naive_value(inside, [average_value(made)] * len(IDS))
    met = {event.media for event in inside}
    named = {segments[user] for user in made.users["user_id"]} - {None}
    assert found.segments == tuple(sorted(str(name) for name in named))
    for place, segment in enumerate(found.segments):
        own = naive_value([event for event in inside if segments[event.user] == segment], everybody)
        rows = found.liked.rows[found.liked.offsets[place] : found.liked.offsets[place + 1]].tolist()
        expected = sorted((-own[row], row) for row, media in enumerate(IDS) if media in met)[:per_segment]
        assert [(-own[row], row) for row in rows] == expected


def test_a_segment_without_events_gets_what_everybody_likes() -> None:
    events = [
        Event("ann", 10, Action.IMPRESSION, 50),
        Event("ann", 20, Action.LIKE, 50),
        Event("bob", 30, Action.HIDE, 1),
    ]
    found = made_of(world(events, {"ann": "busy", "bob": "quiet"}))
    assert found.segments == ("busy", "quiet")
    assert found.liked.rows.tolist() == [3, 0, 3, 0]


def test_a_segment_likes_what_its_users_like() -> None:
    events = [Event("ann", 10, Action.IMPRESSION, 50), Event("ann", 10, Action.SAVE, 50)]
    events += [Event("bob", 20, action, 51) for action in (Action.IMPRESSION, Action.SAVE, Action.SHARE)]
    events += [Event("bob", 10, Action.HIDE, 52)]
    found = made_of(world(events, {"ann": "tens", "bob": "twenties"}))
    assert found.liked.rows.tolist() == [0, 3, 3, 0] or found.liked.rows.tolist() == [3, 0, 3, 0]
    alone = made_of(world(events, {"ann": "tens", "bob": ""}))
    assert (alone.segments, alone.liked.offsets.tolist()) == (("tens",), [0, 2])


def test_an_event_at_the_end_of_a_window_is_too_late_and_one_at_its_start_is_in_time() -> None:
    late = made_of(world([Event("ann", 10, Action.LIKE, AS_OF_MINUTE), Event("ann", 11, Action.LIKE, 5)]))
    assert (late.value_WM == late.value_WM[0, 2]).all()
    early = made_of(world([Event("ann", 10, Action.LIKE, AS_OF_MINUTE - 10), Event("ann", 11, Action.IMPRESSION, 5)]))
    nobody_met = early.value_WM[0, 2]
    assert early.value_WM[0, 0] == pytest.approx(nobody_met + 2 / PRIOR_IMPRESSIONS)


def test_no_events_at_all_leave_values_of_zero_and_no_lists() -> None:
    found = made_of(world([Event("ann", 10, Action.LIKE, AS_OF_MINUTE + 1)], {"ann": "one"}))
    assert not found.value_WM.any()
    assert (found.segments, found.liked.offsets.tolist()) == (("one",), [0, 0])


def test_windows_are_a_day_two_days_and_a_week() -> None:
    assert SourcingConfig().windows_ms == (DAY_MS, 2 * DAY_MS, 7 * DAY_MS)
    with pytest.raises(ConfigError, match="name at least one window"):
        SourcingConfig(windows_ms=())
