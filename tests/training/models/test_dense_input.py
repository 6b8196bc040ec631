"""The input layer: presence, standardisation, and inputs that no log contains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from features.schema import Feature, Scope, Transform
from features.view import View
from training.models.dense_input import CLIP, DenseInput


def _value(view: View) -> NDArray[np.float32]:
    return view.position_N


PLAIN = Feature("plain", Scope.ITEM, _value)
COUNT = Feature("count", Scope.ITEM, _value, Transform.LOG1P)


def fitted(column: list[float], feature: Feature = PLAIN) -> DenseInput:
    layer = DenseInput([feature])
    layer.fit(np.array(column, dtype=np.float32)[:, None])
    return layer


def output(layer: DenseInput, *values: float) -> list[list[float]]:
    rows: list[list[float]] = layer(torch.tensor(values).unsqueeze(1)).tolist()
    return rows


def test_present_values_are_standardised_by_present_values_only() -> None:
    assert output(fitted([1.0, 3.0, np.nan]), 1.0, 3.0) == [[-1.0, 1.0], [1.0, 1.0]]


def test_a_missing_value_differs_from_a_zero_and_from_the_mean() -> None:
    missing, zero, mean = output(fitted([-1.0, 1.0, np.nan]), np.nan, 0.0, 0.0)
    assert missing == [0.0, 0.0]
    assert zero == mean == [0.0, 1.0]


def test_counts_are_taken_as_logarithms() -> None:
    (low, _), (high, _) = output(fitted([0.0, float(np.expm1(2)), np.nan], COUNT), 0.0, float(np.expm1(2)))
    assert [low, high] == pytest.approx([-1.0, 1.0])


def test_a_feature_that_training_never_saw_counts_as_missing() -> None:
    assert output(fitted([np.nan, np.nan]), 0.0, 7.0, np.nan) == [[0.0, 0.0]] * 3


def test_a_constant_feature_says_nothing_when_serving_sees_another_value() -> None:
    assert output(fitted([5.0, 5.0, np.nan]), 5.0, 9e9) == [[0.0, 1.0]] * 2


def test_a_presence_bit_that_never_varied_stays_silent() -> None:
    assert output(fitted([1.0, 3.0]), 2.0, np.nan) == [[0.0, 0.0]] * 2


@pytest.mark.parametrize("feature", [PLAIN, COUNT], ids=["plain", "log"])
def test_infinite_and_huge_values_are_clipped(feature: Feature) -> None:
    rows = output(fitted([1.0, 3.0, np.nan], feature), np.inf, -np.inf, 3e38, -3e38)
    assert np.isfinite(rows).all()
    assert [row[0] for row in rows[:2]] == pytest.approx([CLIP, -CLIP])


def test_infinite_training_values_do_not_spoil_mean_and_spread() -> None:
    assert output(fitted([1.0, 3.0, np.inf, -np.inf]), 1.0, 3.0) == [[-1.0, 0.0], [1.0, 0.0]]


def test_no_rows_give_no_output() -> None:
    assert fitted([1.0, 2.0])(torch.zeros(0, 1)).shape == (0, 2)


def test_a_layer_may_take_some_of_the_columns() -> None:
    dense_NX = np.array([[5.0, 1.0, np.nan], [5.0, 3.0, 7.0]], dtype=np.float32)
    layer = DenseInput([PLAIN, PLAIN])
    layer.fit(dense_NX, [2, 1])
    alone = fitted([1.0, 3.0])
    assert layer.mean_F.tolist() == [7.0, alone.mean_F.item()]
    assert layer.gappy_F.tolist() == [1.0, 0.0]
