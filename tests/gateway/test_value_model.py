"""The value model: a weighted sum, and tables that cannot order anything are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.value_model import check_weights, value
from serving.errors import InvalidArgument

TASKS = ("click", "like", "negative")
WEIGHTS = {"click": 1.0, "like": 4.0, "negative": -20.0}
PROBABILITIES = st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=1, max_size=20)


def test_value_is_the_weighted_sum_of_the_probabilities() -> None:
    probability_NT = np.array([[0.5, 0.25, 0.0], [1.0, 0.0, 0.125]], dtype=np.float32)
    assert value(probability_NT, TASKS, WEIGHTS).tolist() == [1.5, -1.5]


def test_a_task_without_weight_counts_nothing() -> None:
    assert value(np.ones((1, 3), np.float32), TASKS, {"like": 2.0}).tolist() == [2.0]


def test_a_weight_without_task_predicts_nothing() -> None:
    assert value(np.ones((1, 3), np.float32), TASKS, {"like": 2.0, "save": 9.0}).tolist() == [2.0]


@given(PROBABILITIES, st.floats(0.01, 100))
def test_scaling_all_weights_leaves_the_order_unchanged(rows: list[tuple[float, ...]], factor: float) -> None:
    probability_NT = np.array(rows, dtype=np.float32)
    scaled = {task: weight * factor for task, weight in WEIGHTS.items()}
    assert np.allclose(value(probability_NT, TASKS, scaled), factor * value(probability_NT, TASKS, WEIGHTS))


@given(PROBABILITIES, st.floats(0, 50))
def test_a_larger_negative_weight_never_helps_the_more_disliked_one(rows: list[tuple[float, ...]], more: float) -> None:
    probability_NT = np.array(rows, dtype=np.float32)
    drop_N = value(probability_NT, TASKS, WEIGHTS) - value(probability_NT, TASKS, WEIGHTS | {"negative": -20 - more})
    assert np.allclose(drop_N, more * probability_NT[:, 2], atol=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_by_name(bad: float) -> None:
    with pytest.raises(InvalidArgument, match=r"value_weights\.default\.like"):
        check_weights("default", {"click": 1.0, "like": bad})


def test_a_table_that_orders_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="orders nothing"):
        check_weights("default", {"click": 0.0})
