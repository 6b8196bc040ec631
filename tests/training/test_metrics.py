"""Metrics against their definitions, computed by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import (
    auc,
    bootstrap_mean,
    expected_calibration_error,
    gauc,
    log_loss,
    ndcg_at_k,
    ndcg_of_lists,
    recall_at_k,
    reliability,
)

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 2)), max_size=25)


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label_N, score_N, user_N = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return label_N.astype(np.float32), score_N / 4, user_N * 100


def brute_auc(label_N: np.ndarray, score_N: np.ndarray) -> float:
    pairs = [(p > n) + (p == n) / 2 for p in score_N[label_N == 1] for n in score_N[label_N == 0]]
    return float(np.mean(pairs)) if pairs else float("nan")


@settings(deadline=None)
@given(ROWS)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, int, int]]) -> None:
    label_N, score_N, _ = columns(rows)
    assert auc(label_N, score_N) == pytest.approx(brute_auc(label_N, score_N), nan_ok=True)


@settings(deadline=None)
@given(ROWS, st.sampled_from(["impressions", "positives"]))
def test_gauc_is_the_weighted_mean_of_the_users_aucs(rows: list[tuple[int, int, int]], weight: str) -> None:
    label_N, score_N, user_N = columns(rows)
    total = mass = 0.0
    for user in np.unique(user_N):
        mine = user_N == user
        if 0 < label_N[mine].sum() < mine.sum():
            of_user = float(mine.sum() if weight == "impressions" else label_N[mine].sum())
            total, mass = total + of_user * brute_auc(label_N[mine], score_N[mine]), mass + of_user
    expected = total / mass if mass else float("nan")
    assert gauc(label_N, score_N, user_N, weight) == pytest.approx(expected, nan_ok=True)


def test_an_unknown_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'clicks'"):
        gauc(np.ones(1), np.ones(1), np.zeros(1, dtype=np.int64), "clicks")


def test_log_loss_is_the_cross_entropy_and_finite_at_the_ends() -> None:
    assert log_loss(np.array([1, 0]), np.array([0.5, 0.25])) == pytest.approx(-np.log([0.5, 0.75]).mean())
    assert np.isfinite(log_loss(np.array([1, 0], dtype=np.float32), np.array([0, 1], dtype=np.float32)))
    assert np.isnan(log_loss(np.empty(0), np.empty(0)))


def test_the_calibration_error_is_the_distance_of_the_rates_of_equal_bins() -> None:
    probability_N, label_N = np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 1, 1, 1])
    assert expected_calibration_error(label_N, probability_N, bins=2) == pytest.approx((0.4 + 0.2) / 2)
    assert expected_calibration_error(label_N, probability_N, bins=100) == pytest.approx((0.1 + 0.9 + 0.2 + 0.2) / 4)
    assert np.isnan(expected_calibration_error(np.empty(0), np.empty(0)))


def test_a_reliability_curve_has_the_rates_of_equal_bins() -> None:
    curve = reliability(np.array([0, 1, 1, 1]), np.array([0.1, 0.8, 0.3, 0.6]), bins=2)
    assert curve.predicted == pytest.approx((0.2, 0.7))
    assert (curve.observed, curve.count) == ((0.5, 1.0), (2, 2))
    assert reliability(np.empty(0), np.empty(0)).count == ()
    assert reliability(np.ones(3), np.ones(3)).count == (1, 1, 1)


def test_calibrated_predictions_have_nearly_no_calibration_error() -> None:
    random = np.random.default_rng(0)
    probability_N = random.random(100_000)
    label_N = random.random(100_000) < probability_N
    assert expected_calibration_error(label_N.astype(np.float32), probability_N) < 0.01


def test_ndcg_compares_with_the_best_order() -> None:
    gain_QC = np.array([[3.0, 0, 1], [0, 0, 0], [1, 1, 1]])
    score_QC = np.array([[1.0, 3, 2], [1, 2, 3], [1, 2, 3]])
    dcg, best = 1 / np.log2(3), 3 + 1 / np.log2(3)
    np.testing.assert_allclose(ndcg_at_k(gain_QC, score_QC, 2), [dcg / best, np.nan, 1])


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(1, 9))
def test_the_order_of_the_gains_has_ndcg_one(order: list[int], k: int) -> None:
    gain_QC = np.array([order], dtype=np.float64)
    assert ndcg_at_k(gain_QC, gain_QC, k)[0] == pytest.approx(1)


def test_recall_is_the_share_of_the_relevant_among_the_first() -> None:
    relevant_QC = np.array([[True, True, False], [False, False, False]])
    score_QC = np.array([[1.0, 3, 2], [1, 2, 3]])
    np.testing.assert_array_equal(recall_at_k(relevant_QC, score_QC, 2), [0.5, np.nan])


def test_the_interval_covers_the_mean_at_about_its_confidence() -> None:
    random = np.random.default_rng(0)
    user_N = np.repeat(np.arange(50), 4)
    hits = 0
    for seed in range(100):
        value_N = np.repeat(random.normal(size=50), 4) + random.normal(size=200) / 10
        interval = bootstrap_mean(value_N, user_N, resamples=200, seed=seed)
        hits += interval.low < 0 < interval.high
    assert 85 <= hits <= 100


def test_the_interval_is_repeatable_and_leaves_missing_values_out() -> None:
    value_N, user_N = np.array([1.0, 2, np.nan, 4]), np.array([1, 1, 2, 3])
    interval = bootstrap_mean(value_N, user_N)
    assert interval == bootstrap_mean(value_N, user_N)
    assert interval.mean == pytest.approx(7 / 3)
    assert interval.low <= interval.mean <= interval.high
    assert np.isnan(bootstrap_mean(np.array([np.nan]), np.array([0])).mean)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_ndcg_of_ragged_lists_is_that_of_padded_ones(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    gain_QC, score_QC = (
        random.integers(0, 2, (6, 5)).astype(np.float64),
        random.integers(0, 4, (6, 5)).astype(np.float64),
    )
    kept_QC = random.random((6, 5)) < 0.7
    kept_QC[:, 0] = True  # no list is empty
    padded_Q = ndcg_at_k(np.where(kept_QC, gain_QC, 0), np.where(kept_QC, score_QC, -np.inf), k)
    list_QC = np.broadcast_to(np.arange(6)[:, None] * 3, (6, 5))
    ragged_Q = ndcg_of_lists(gain_QC[kept_QC], score_QC[kept_QC], list_QC[kept_QC], k)
    assert np.allclose(ragged_Q, padded_Q, equal_nan=True)
