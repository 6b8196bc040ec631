"""Extra calls are a small part of all calls, at any time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.call_policy import CallPolicy
from serving.retry_budget import RetryBudget
from serving.testing import FakeClock

POLICY = CallPolicy(extra_share=0.1, extra_floor=3, extra_window_s=10.0)


def test_a_quiet_system_may_retry() -> None:
    budget = RetryBudget(POLICY, FakeClock())
    budget.count_call()
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]


def test_a_busy_one_spends_a_tenth_and_gets_it_again_when_the_window_has_passed() -> None:
    clock = FakeClock()
    budget = RetryBudget(POLICY, clock)
    for _ in range(2):
        for _ in range(100):
            budget.count_call()
        assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]
        clock.advance(10.0)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_without_a_floor_nothing_goes_beyond_the_share(share: float) -> None:
    budget = RetryBudget(POLICY.model_copy(update={"extra_floor": 0, "extra_share": share}), FakeClock())
    for _ in range(19):
        budget.count_call()
    assert not budget.spend()
    budget.count_call()
    assert budget.spend() == (share > 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10), st.floats(0, 3)), max_size=40))
def test_extra_calls_of_every_window_are_within_the_share_of_the_calls_around_it(
    history: list[tuple[int, int, float]],
) -> None:
    clock = FakeClock()
    budget = RetryBudget(POLICY, clock)
    calls, extra = list[float](), list[float]()
    for asked, wished, wait_s in history:
        for _ in range(asked):
            budget.count_call()
            calls.append(clock.now)
        extra += [clock.now for _ in range(wished) if budget.spend()]
        recent_calls = sum(clock.now - at <= 10.0 for at in calls)
        recent_extra = sum(clock.now - at < 9.0 - 1e-6 for at in extra)
        if extra and extra[-1] == clock.now:  # nothing is granted beyond the share; calls may leave the window later
            assert recent_extra <= max(3, 0.1 * recent_calls)
        clock.advance(wait_s)
