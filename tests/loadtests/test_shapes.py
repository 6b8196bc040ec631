"""How many requests are due, over the length of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.shapes import SHAPES, arrivals_per_s


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("steady", [40, 40, 40, 40, 40]),
        ("ramp", [1, 10, 20, 40, 40]),
        ("spike", [40, 40, 120, 40, 40]),
        ("soak", [1, 40, 40, 40, 40]),
    ],
)
def test_a_shape_at_a_few_moments(shape: str, expected: list[int]) -> None:
    assert [arrivals_per_s(SHAPES[shape], 40, 100.0, now_s) for now_s in (0.0, 20.0, 40.0, 80.0, 99.9)] == expected


@given(st.sampled_from(sorted(SHAPES)), st.integers(1, 10**6), st.floats(0.01, 1e6), st.floats(0, 2e6))
def test_a_run_ends_and_until_then_something_comes(shape: str, rate: int, duration_s: float, now_s: float) -> None:
    found = arrivals_per_s(SHAPES[shape], rate, duration_s, now_s)
    if now_s >= duration_s:
        assert found is None
    else:
        assert found is not None
        assert 1 <= found <= 3 * rate
