"""The search for the highest rate that holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.saturation import HOLD, MAX_STEPS, PRECISION, StepSearch


def searched(first: int, limit: int) -> StepSearch:
    """A search on a stack that holds every rate up to `limit`."""
    search = StepSearch(first)
    while search.tried(search.rate <= limit):
        pass
    return search


@given(st.integers(1, 100), st.integers(1, 2_000))
def test_it_brackets_the_limit(first: int, limit: int) -> None:
    search = searched(first, limit)
    assert search.steps <= MAX_STEPS + 1
    assert search.held <= limit
    if search.confirmed:
        assert search.broke is not None
        assert limit < search.broke
        assert search.broke - search.held <= max(PRECISION * search.held, 1)


@given(st.integers(1, 100), st.integers(1, 500), st.floats(0.05, 1.0))
def test_what_it_tells_held_at_length(first: int, limit: int, at_length: float) -> None:
    search = StepSearch(first)
    tried = list[tuple[int, int, bool]]()
    while True:
        ok = search.rate <= (limit if search.length == 1 else at_length * limit)
        tried.append((search.rate, search.length, ok))
        if not search.tried(ok):
            break
    assert search.confirmed == (search.held > 0 and (search.held, HOLD, True) in tried)
    if search.confirmed:
        assert search.held <= at_length * limit
        assert not any(ok and length == HOLD for _, length, ok in tried[:-1])
        missed = [rate for rate, _, ok in tried if not ok]
        assert all(rate > search.held for rate in missed)
        assert search.held >= (1 - PRECISION) * min(missed) - 1  # no lower than it must be


def test_a_rate_that_does_not_hold_at_length_gives_way_to_one_a_tenth_lower() -> None:
    search = StepSearch(100)
    assert search.tried(True)
    assert search.rate == 150
    for ok in (False, True, False):  # 150, 125, 137
        assert search.tried(ok)
    assert (search.rate, search.length) == (125, HOLD)
    assert search.tried(False)
    assert (search.rate, search.length, search.held, search.broke) == (112, HOLD, 100, 125)
    assert not search.tried(True)
    assert (search.held, search.broke, search.confirmed) == (112, 125, True)


@pytest.mark.parametrize("first", [1, 7, 64])
def test_a_stack_that_holds_nothing_has_no_saturation(first: int) -> None:
    assert searched(first, 0).held == 0


def test_a_stack_that_holds_everything_ends_it_too() -> None:
    search = searched(10, 10**9)
    assert search.broke is None
    assert not search.confirmed
    assert search.steps == MAX_STEPS
