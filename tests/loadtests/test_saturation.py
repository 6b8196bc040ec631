"""The search for the highest rate that holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.saturation import MAX_STEPS, PRECISION, StepSearch


def searched(first: int, limit: int) -> StepSearch:
    """A search on a stack that holds every rate up to `limit`."""
    search = StepSearch(first)
    while search.tried(search.rate <= limit):
        pass
    return search


@given(st.integers(1, 100), st.integers(1, 2_000))
def test_it_brackets_the_limit(first: int, limit: int) -> None:
    search = searched(first, limit)
    assert search.steps <= MAX_STEPS
    assert search.held <= limit
    if search.steps < MAX_STEPS:
        assert search.broke is not None
        assert limit < search.broke
        assert search.broke - search.held <= max(PRECISION * search.held, 1)


@pytest.mark.parametrize("first", [1, 7, 64])
def test_a_stack_that_holds_nothing_has_no_saturation(first: int) -> None:
    assert searched(first, 0).held == 0


def test_a_stack_that_holds_everything_ends_it_too() -> None:
    search = searched(10, 10**9)
    assert search.broke is None
    assert search.steps == MAX_STEPS
