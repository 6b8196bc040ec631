"""Comparing strategies: pairs stay together, a multiple of nothing is not claimed, and all of them may show the same media."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cli.quality import Strategy, _eligible, interval, lead
from features.actions import Action
from tests.training.logs import Event, dataset


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


def test_pages_without_models_hold_what_sourcing_would_allow() -> None:
    events = [
        Event("ann", media, Action.CLICK, minute) for minute, media in enumerate((10, 10, 11, 12, 13, 14, 14, 14))
    ]
    data = dataset(events, dict.fromkeys((10, 11, 12, 13, 14)))
    scored = data.media.with_columns(non_recommendable_score=pl.Series([0.1, 0.1, 0.9, 0.1, 0.1], dtype=pl.Float32))
    flags = pl.Series([[], None, None, ["graphic"], ["nudity"]], dtype=pl.List(pl.String))
    flagged = replace(data, media=scored.with_columns(policy_flags=flags))
    assert [ids.tolist() for ids in _eligible(flagged)] == [[10, 11], [10, 11]]
    assert [ids.tolist() for ids in _eligible(replace(data, media=scored))] == [[10, 11, 13, 14], [14, 10, 11, 13]]


def test_no_ratio_is_claimed_over_something_that_may_be_worthless() -> None:
    assert lead(_strategy([1.0, 1.0]), _strategy([-1.0, 1.0])).ratio is None
