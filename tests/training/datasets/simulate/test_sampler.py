"""Draws stay in their group, follow the weights, and say when there is nothing to draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.datasets.simulate.sampler import GroupedSampler, draw_columns

items = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1e-3, 0.5, 3.0, 1e3])), min_size=1, max_size=20)


@settings(deadline=None)
@given(items, st.integers(0, 2**32))
def test_an_item_with_weight_comes_from_the_group_that_was_named(items: list[tuple[int, float]], seed: int) -> None:
    group_I, weight_I = np.array([group for group, _ in items]), np.array([weight for _, weight in items])
    group_X = np.tile(np.arange(5), 10)
    drawn_X = GroupedSampler(weight_I, group_I, 5).draw(group_X, np.random.default_rng(seed))
    for group, item in zip(group_X.tolist(), drawn_X.tolist(), strict=True):
        total = weight_I[group_I == group].sum()
        assert item == -1 if total == 0 else group_I[item] == group


def test_draws_are_in_proportion_to_the_weights() -> None:
    sampler = GroupedSampler(np.array([1.0, 3.0, 5.0, 0.0]), np.array([1, 1, 0, 1]), 2)
    drawn_X = sampler.draw(np.ones(20_000, dtype=np.int64), np.random.default_rng(0))
    assert np.bincount(drawn_X, minlength=4) / 20_000 == pytest.approx([0.25, 0.75, 0, 0], abs=0.02)


def test_columns_are_drawn_in_proportion_to_their_row() -> None:
    chance_XC = np.tile([[2.0, 0.0, 6.0]], (20_000, 1))
    drawn_X = draw_columns(chance_XC, np.random.default_rng(0))
    assert np.bincount(drawn_X, minlength=3) / 20_000 == pytest.approx([0.25, 0, 0.75], abs=0.02)
