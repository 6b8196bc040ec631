"""The value model: a weighted sum, and tables that cannot order anything are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.value_model import check_weights, terms, value
from serving.errors import InvalidArgument
from serving.wire.ranking import MAX_WEIGHT

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


@given(
    st.dictionaries(
        st.sampled_from(["like", "save", "hide", "share"]),
        st.tuples(st.floats(0, 1, width=32), st.floats(-MAX_WEIGHT, MAX_WEIGHT)),
        min_size=1,
    )
)
def test_the_terms_of_a_value_sum_up_to_it(by_task: dict[str, tuple[float, float]]) -> None:
    likely = {task: probability for task, (probability, _) in by_task.items()}
    weights = {task: weight for task, (_, weight) in by_task.items()}
    whole = value(np.array([list(likely.values())], dtype=np.float32), list(likely), weights)[0]
    size = sum(abs(term.worth) for term in terms(likely, weights))
    assert sum(term.worth for term in terms(likely, weights)) == pytest.approx(whole, abs=1e-12 * max(size, 1))


def test_a_task_without_a_weight_is_a_term_of_nothing() -> None:
    assert [(t.task, t.weight, t.worth) for t in terms({"like": 0.5, "save": 0.25}, {"like": 2})] == [
        ("like", 2, 1.0),
        ("save", 0.0, 0.0),
    ]
