"""Budgets only shrink and never promise more than there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.deadline import Budget
from serving.testing import FakeClock

seconds = st.floats(-1e6, 1e6)
durations = st.floats(0, 1e6)


@dataclass
class Call:
    left: float | None

    def time_remaining(self) -> float | None:
        return self.left


def test_remaining_falls_with_the_clock() -> None:
    clock = FakeClock(100.0)
    budget = Budget(2.0, clock)
    clock.advance(1.5)
    assert budget.remaining() == 0.5
    clock.advance(1.0)
    assert budget.remaining() == 0.0


def test_share_is_a_fraction_of_what_is_left_after_the_reserve() -> None:
    clock = FakeClock()
    budget = Budget(1.0, clock, reserve=0.2)
    assert budget.share(0.5) == pytest.approx(0.4)
    clock.advance(0.9)
    assert budget.share(1.0) == 0.0
    assert budget.remaining() == pytest.approx(0.1)


@pytest.mark.parametrize(("left", "expected"), [(None, 0.3), (0.1, 0.1), (5.0, 0.3), (-1.0, 0.0), (math.nan, 0.3)])
def test_caller_can_shorten_the_limit_but_not_extend_it(left: float | None, expected: float) -> None:
    budget = Budget.of_call(Call(left), 0.3, FakeClock(), reserve=0.5)
    assert budget.remaining() == expected
    assert budget.share(1.0) == pytest.approx(expected / 2)


@given(seconds, st.lists(durations), st.floats(0, 1), st.floats(0, 1))
def test_share_never_exceeds_what_remains(total: float, steps: list[float], fraction: float, reserve: float) -> None:
    clock = FakeClock()
    budget = Budget(total, clock, reserve)
    before = math.inf
    for step in [0.0, *steps]:
        clock.advance(step)
        assert 0.0 <= budget.share(fraction) <= budget.remaining() <= before
        before = budget.remaining()


@given(durations, st.floats(0, 1), st.floats(0, 1))
def test_shares_of_all_stages_leave_the_reserve(total: float, fraction: float, reserve: float) -> None:
    clock = FakeClock()
    budget = Budget(total, clock, reserve)
    for _ in range(5):
        clock.advance(budget.share(fraction))
    assert budget.remaining() >= total * reserve * (1 - 1e-9) - 1e-9


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf])
def test_budget_without_an_end_is_refused(total: float) -> None:
    with pytest.raises(ValueError, match="no budget"):
        Budget(total)


@pytest.mark.parametrize("reserve", [-0.1, 1.1, math.nan])
def test_impossible_reserve_is_refused(reserve: float) -> None:
    with pytest.raises(ValueError, match="no budget"):
        Budget(1.0, reserve=reserve)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_impossible_share_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="cannot take the share"):
        Budget(1.0).share(fraction)
