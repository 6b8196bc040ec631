"""Counts that decay: what is left after a while, and the form in which they are kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.actions import N_ACTIONS, Action
from features.counters import DAY_MS, HOUR_MS
from features.recency import N_WINDOWS, NO_RECENT, RecentCounts
from tests.features.worlds import NOW

SHAPE = (N_WINDOWS, N_ACTIONS)


def test_a_count_halves_within_its_window() -> None:
    recent = RecentCounts(NOW, np.full(SHAPE, 8.0))
    assert recent.at(NOW + 2 * HOUR_MS)[0].tolist() == [2.0] * N_ACTIONS
    assert recent.at(NOW + 3 * DAY_MS)[1].tolist() == [1.0] * N_ACTIONS


def test_time_that_runs_back_makes_no_count_grow() -> None:
    assert (RecentCounts(NOW, np.full(SHAPE, 8.0)).at(NOW - DAY_MS) == 8).all()


def test_nobody_did_nothing() -> None:
    assert not NO_RECENT.at(NOW).any()


@given(st.lists(st.floats(0, 1e9), min_size=N_WINDOWS * N_ACTIONS, max_size=N_WINDOWS * N_ACTIONS))
def test_counts_are_read_as_they_were_written(values: list[float]) -> None:
    recent = RecentCounts(NOW, np.array(values).reshape(SHAPE))
    found = RecentCounts.decoded(recent.encoded())
    assert found.as_of_ms == NOW
    np.testing.assert_array_equal(found.sums_WA, recent.sums_WA)
    assert found.sums_WA[1, Action.REPORT] == values[N_ACTIONS + Action.REPORT]
