"""Counters that move forward: the same sums however many steps they take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import N_ACTIONS, Action
from features.counters import DAY_MS, ActionCounters

EVENTS = st.lists(st.tuples(st.integers(0, 10 * DAY_MS), st.integers(0, 2), st.sampled_from(list(Action))), max_size=30)
NONE = np.empty(0, dtype=np.int64)


def walked(events: list[tuple[int, int, Action]], stops: list[int]) -> ActionCounters:
    counters = ActionCounters(3, as_of_ms=0)
    for to_ms in sorted(stops):
        step = [event for event in events if counters.as_of_ms <= event[0] < to_ms]
        time_ms_E, row_E, action_E = np.array(step, dtype=np.int64).reshape(-1, 3).T
        counters.advance(to_ms, row_E, action_E, time_ms_E)
    return counters


@settings(max_examples=50, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 10 * DAY_MS), max_size=5))
def test_many_steps_count_as_one(events: list[tuple[int, int, Action]], stops: list[int]) -> None:
    end = 11 * DAY_MS
    one, many = walked(events, [end]), walked(events, [*stops, end])
    np.testing.assert_array_equal(one.counts_KA, many.counts_KA)
    np.testing.assert_allclose(one.recent_KA, many.recent_KA, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(EVENTS)
def test_counters_equal_a_count_by_hand(events: list[tuple[int, int, Action]]) -> None:
    end = 11 * DAY_MS
    counters = walked(events, [end])
    counts_KA, recent_KA = np.zeros((2, 3, N_ACTIONS))
    for time_ms, row, action in events:
        counts_KA[row, action] += 1
        recent_KA[row, action] += 0.5 ** ((end - time_ms) / DAY_MS)
    np.testing.assert_array_equal(counters.counts_KA, counts_KA)
    np.testing.assert_allclose(counters.recent_KA, recent_KA)


def test_counters_do_not_move_back() -> None:
    with pytest.raises(ValueError, match="cannot move back from 5 to 4"):
        ActionCounters(1, as_of_ms=5).advance(4, NONE, NONE, NONE)


@pytest.mark.parametrize("time_ms", [4, 10])
def test_an_event_outside_the_step_is_refused(time_ms: int) -> None:
    with pytest.raises(ValueError, match=r"outside \[5, 10\)"):
        ActionCounters(1, as_of_ms=5).advance(10, np.array([0]), np.array([1]), np.array([time_ms]))


def test_decades_without_events_forget_what_was_recent() -> None:
    counters = ActionCounters(1, as_of_ms=0)
    counters.advance(1, np.array([0]), np.array([1]), np.array([0]))
    counters.advance(60 * 365 * DAY_MS, NONE, NONE, NONE)
    assert counters.counts_KA.sum() == 1
    assert counters.recent_KA.sum() == 0
