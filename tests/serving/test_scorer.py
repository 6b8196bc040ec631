"""The value of probabilities, and the baseline."""

from __future__ import annotations

import numpy as np

from serving.scorer import PassThroughScorer, expected_value_N
from serving.wire import decode_rank_request
from tests.serving.batches import rank_request


def test_value_uses_the_weights_of_the_candidates_user() -> None:
    probability_NT = np.array([[0.5, 0.1], [0.2, 0.4], [1.0, 1.0]], np.float32)
    weight_BT = np.array([[1.0, -5.0], [2.0, 0.0]])
    value_N = expected_value_N(probability_NT, weight_BT, np.array([0, 2, 3]))
    np.testing.assert_allclose(value_N, [0.0, -1.8, 2.0], atol=1e-6)


def test_user_without_candidates_changes_nothing() -> None:
    weight_BT = np.array([[9.0], [1.0]])
    assert expected_value_N(np.array([[0.5]], np.float32), weight_BT, np.array([0, 0, 1])).tolist() == [0.5]


def test_baseline_keeps_the_incoming_scores_and_what_is_unscored() -> None:
    batch = decode_rank_request(rank_request([[0.5, float("nan")]]))
    scored = PassThroughScorer().score(batch.contexts, batch.candidates, np.empty((1, 0)))
    np.testing.assert_array_equal(scored.score_N, np.array([0.5, np.nan], np.float32))
    assert scored.probability_NT is None
