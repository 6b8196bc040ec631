"""Which candidates are kept, in which order, and which scorers are caught."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import StageContractViolation
from serving.scorer import Scored
from serving.selection import select, top_rows
from serving.wire import decode_rank_request
from tests.serving.batches import rank_request, scores

NAN, INF = math.nan, math.inf


def top(lists: list[list[float]], keep: list[int]) -> tuple[list[int], list[int]]:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    score_N = np.array([score for one in lists for score in one], np.float32)
    row_M, kept = top_rows(score_N, offsets, np.array(keep, np.int64))
    return row_M.tolist(), kept.tolist()


def by_hand(lists: list[list[float]], keep: list[int]) -> tuple[list[int], list[int]]:
    """The definition, one user after the other."""
    rows, offsets, first = [], [0], 0
    for one, k in zip(lists, keep, strict=True):
        scored = [row for row, score in enumerate(one) if not math.isnan(score)]
        rows += [first + row for row in sorted(scored, key=lambda row: -one[row])[:k]]
        offsets.append(len(rows))
        first += len(one)
    return rows, offsets


@given(st.lists(st.tuples(st.lists(scores, max_size=8), st.integers(1, 2**32 - 1) | st.integers(1, 4)), max_size=4))
def test_selection_is_the_best_of_each_user(users: list[tuple[list[float], int]]) -> None:
    lists, keep = [one for one, _ in users], [k for _, k in users]
    assert top(lists, keep) == by_hand(lists, keep)


def test_negative_scores_rank_below_positive_ones() -> None:
    assert top([[-1.0, 2.0, -3.0, 0.0]], [3]) == ([1, 3, 0], [0, 3])


def test_equal_scores_keep_the_order_of_the_rows() -> None:
    assert top([[1.0, 2.0, 2.0, 1.0, 2.0]], [4]) == ([1, 2, 4, 0], [0, 4])


def test_candidate_that_cannot_be_scored_is_dropped_even_if_there_is_room() -> None:
    assert top([[NAN, -5.0, NAN]], [3]) == ([1], [0, 1])


def test_user_whose_candidates_cannot_be_scored_keeps_none() -> None:
    assert top([[NAN], [1.0], []], [5, 5, 5]) == ([1], [0, 0, 1, 1])


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("score_N", "probability_NT", "tasks", "message"),
    [
        (f32(1.0), None, (), r"score has shape \(1,\), expected \(2,\)"),
        (f32(1.0, 2.0).reshape(2, 1), None, (), r"score has shape \(2, 1\)"),
        (np.array([1.0, 2.0]), None, (), "score is float64, expected float32"),
        (f32(1.0, INF), None, (), "score is infinite"),
        (f32(-INF, 1.0), None, (), "score is infinite"),
        (f32(1.0, 2.0), None, ("click",), r"task_probability has shape \(2, 0\), expected \(2, 1\)"),
        (f32(1.0, 2.0), f32(0.5, 0.5), ("click",), r"task_probability has shape \(2,\)"),
        (f32(1.0, 2.0), f32(0.5, 1.5).reshape(2, 1), ("click",), "not in \\[0, 1\\]"),
        (f32(1.0, 2.0), f32(0.5, NAN).reshape(2, 1), ("click",), "not in \\[0, 1\\]"),
    ],
)
def test_scorer_that_breaks_its_contract_is_named(
    score_N: Any, probability_NT: Any, tasks: tuple[str, ...], message: str
) -> None:
    batch = decode_rank_request(rank_request([[1.0, 2.0]]))
    with pytest.raises(StageContractViolation, match=f"^prerank broke its contract: .*{message}"):
        select("prerank", Scored(score_N, probability_NT, 0, 0), tasks, batch, "v1")


def test_probabilities_follow_their_candidates() -> None:
    batch = decode_rank_request(rank_request([[0.0, 0.0], [0.0]]))
    scored = Scored(f32(1.0, 2.0, NAN), f32(0.1, 0.2, NAN).reshape(3, 1), features_us=5, model_us=6)
    ranked = select("rank", scored, ("click",), batch, "v1")
    assert ranked.row_M.tolist() == [1, 0]
    assert ranked.probability_MT.tolist() == [[np.float32(0.2)], [np.float32(0.1)]]
    assert (ranked.offsets.tolist(), ranked.bundle_version, ranked.model_us) == ([0, 2, 2], "v1", 6)
