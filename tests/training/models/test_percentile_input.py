"""Percentile bins: equally filled, ties together, missing apart; and inputs that no log contains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import Feature, Scope
from training.models.dense_input import DenseInput
from training.models.percentile_input import BINS, PercentileInput, dense_input

PLAIN = Feature("plain", Scope.ITEM, lambda view: view.position_N)
VALUES = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, 1.0, 2.0]))


def fitted(column: list[float]) -> PercentileInput:
    layer = PercentileInput([PLAIN])
    layer.fit(np.array(column, dtype=np.float32)[:, None])
    return layer


def bins(layer: PercentileInput, column: list[float]) -> np.ndarray:
    found_N: np.ndarray = layer.bins(torch.tensor(column, dtype=torch.float32)[:, None])[:, 0].numpy()
    return found_N


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1_000, 1_001, 1_023])
def test_bins_of_different_values_are_equally_filled(n: int) -> None:
    column = np.random.default_rng(n).permutation(n).astype(np.float64).tolist()
    counts = np.bincount(bins(fitted(column), column))[1:]
    assert len(counts) == min(n, BINS)
    assert counts.max() - counts.min() <= 1


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=200))
def test_bins_follow_the_order_of_values_and_never_split_ties(column: list[float]) -> None:
    values_N = np.array(column, dtype=np.float32)
    bin_N = bins(fitted(column), column)
    assert (bin_N[np.isnan(values_N)] == 0).all()
    assert ((bin_N[~np.isnan(values_N)] >= 1) & (bin_N[~np.isnan(values_N)] <= BINS)).all()
    order_N = np.argsort(values_N[~np.isnan(values_N)], kind="stable")
    sorted_N, sorted_bin_N = values_N[~np.isnan(values_N)][order_N], bin_N[~np.isnan(values_N)][order_N]
    assert (np.diff(sorted_bin_N) >= 0).all()
    assert (np.diff(sorted_bin_N)[np.diff(sorted_N) == 0] == 0).all()


def test_a_constant_feature_has_one_bin_whatever_serving_sees() -> None:
    assert bins(fitted([5.0, 5.0, np.nan]), [5.0, 4.0, 9e9, np.inf, -np.inf]).tolist() == [1] * 5


def test_a_feature_without_any_value_is_one_bin_or_missing() -> None:
    assert bins(fitted([np.nan, np.inf]), [np.nan, 0.0, np.inf]).tolist() == [0, 1, 1]


def test_missing_is_not_zero() -> None:
    layer = fitted([0.0, 1.0, np.nan])
    nn_weight_IE = layer.embedding.weight
    torch.nn.init.normal_(nn_weight_IE)
    missing, zero = layer(torch.tensor([[float("nan")], [0.0]]))
    assert not torch.equal(missing, zero)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_odd_values_give_finite_output_of_its_width(odd: float) -> None:
    found = fitted([1.0, 2.0, 3.0])(torch.tensor([[odd]]))
    assert found.shape == (1, fitted([1.0]).width)
    assert found.isfinite().all()


def test_a_second_fit_leaves_nothing_of_the_first() -> None:
    layer = fitted(list(range(100)))
    layer.fit(np.ones((3, 1), dtype=np.float32))
    assert bins(layer, [-7.0, 1.0, 70.0]).tolist() == [1, 1, 1]


def test_no_rows_give_no_output() -> None:
    assert fitted([1.0, 2.0])(torch.zeros(0, 1)).shape == (0, fitted([1.0]).width)


def test_the_input_is_chosen_by_name() -> None:
    assert isinstance(dense_input("percentile", [PLAIN]), PercentileInput)
    assert isinstance(dense_input("standard", [PLAIN]), DenseInput)
