"""Comparing strategies: pairs stay together, and a multiple of nothing is not claimed."""

from __future__ import annotations

import numpy as np
import pytest

from cli.quality import Strategy, interval, lead


def _strategy(values: list[float]) -> Strategy:
    return Strategy("s", np.array(values))


def test_the_interval_holds_the_mean() -> None:
    found = interval(_strategy([1.0, 2.0, 3.0, 4.0]))
    assert found.low < found.mean == 2.5 < found.high


def test_a_strategy_is_no_better_than_itself() -> None:
    same = lead(_strategy([1.0, 2.0]), _strategy([1.0, 2.0]))
    assert (same.difference.mean, same.difference.low, same.difference.high) == (0, 0, 0)


def test_users_are_compared_with_themselves() -> None:
    """Users differ by far more than the strategies do; pairing keeps the interval narrow."""
    base = np.linspace(1, 1_000, 200)
    found = lead(Strategy("better", base + 1), Strategy("base", base)).difference
    assert [found.low, found.high] == pytest.approx([1, 1])


def test_twice_as_much_is_a_ratio_of_two() -> None:
    ratio = lead(_strategy([2.0, 4.0]), _strategy([1.0, 2.0])).ratio
    assert ratio is not None
    assert (ratio.low, ratio.mean, ratio.high) == (2, 2, 2)


def test_no_ratio_is_claimed_over_something_that_may_be_worthless() -> None:
    assert lead(_strategy([1.0, 1.0]), _strategy([-1.0, 1.0])).ratio is None
