"""Isotonic regression against brute force, and what the knots made of it do to order, rates and odd logits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.calibration import MIN_CASES, Knots, isotonic, knots
from training.metrics import auc, expected_calibration_error
from training.models.calibration import KNOTS, LIMIT, Calibration

Floats = NDArray[np.floating]

GROUPS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), min_size=1, max_size=7)


def brute_isotonic(value_G: Floats, weight_G: Floats) -> Floats:
    """The best of all ways to cut the groups into blocks with rising means."""
    n, best = len(value_G), (np.inf, value_G)
    for cuts in (c for k in range(n) for c in combinations(range(1, n), k)):
        blocks = np.split(np.arange(n), cuts)
        fitted_G = np.concatenate([np.full(len(b), np.average(value_G[b], weights=weight_G[b])) for b in blocks])
        if (np.diff(fitted_G) >= -1e-12).all():
            best = min(best, (float((weight_G * (value_G - fitted_G) ** 2).sum()), fitted_G), key=lambda pair: pair[0])
    return best[1]


def planted(n: int, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> tuple[Floats, Floats]:
    """Logits that a network says, and labels that follow (logit - shift) / scale."""
    random = np.random.default_rng(seed)
    true_N = random.normal(-1.5, 1.2, n)
    label_N = (random.random(n) < 1 / (1 + np.exp(-true_N))).astype(np.float32)
    return (scale * true_N + shift).astype(np.float32), label_N


def calibrated(fitted: Knots, logit_N: Floats) -> Floats:
    calibration = Calibration(1)
    calibration.set_knots([fitted])
    probability_N: Floats = calibration(torch.from_numpy(logit_N.astype(np.float32))[:, None])[:, 0].numpy()
    return probability_N


def ece(logit_N: Floats, label_N: Floats) -> float:
    return expected_calibration_error(label_N, 1 / (1 + np.exp(-logit_N)))


@settings(deadline=None)
@given(GROUPS)
def test_pooling_finds_the_best_rising_function(groups: list[tuple[int, int]]) -> None:
    value_G, weight_G = np.array(groups, dtype=np.float64).T
    np.testing.assert_allclose(isotonic(value_G, weight_G), brute_isotonic(value_G, weight_G), atol=1e-9)


def test_a_rising_function_stays_and_a_falling_one_becomes_its_mean() -> None:
    rising_G, weight_G = np.arange(5.0), np.array([1.0, 2, 3, 4, 5])
    assert np.array_equal(isotonic(rising_G, weight_G), rising_G)
    np.testing.assert_allclose(isotonic(-rising_G, weight_G), np.average(-rising_G, weights=weight_G))
    assert isotonic(np.empty(0), np.empty(0)).shape == (0,)


def test_many_rows_are_monotone_and_keep_their_sum() -> None:
    value_N, weight_N = (np.random.default_rng(0).random(100_000) for _ in range(2))
    fitted_N = isotonic(value_N, weight_N)
    assert (np.diff(fitted_N) >= 0).all()
    assert fitted_N @ weight_N == pytest.approx(value_N @ weight_N)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(-4, 4), st.floats(0.2, 5))
def test_knots_rise_strictly_between_the_limits(seed: int, shift: float, scale: float) -> None:
    x_K, y_K = knots(*planted(2_000, shift, scale, seed))
    assert len(x_K) <= KNOTS
    assert (np.diff(x_K) > 0).all()
    assert (np.diff(y_K) > 0).all()
    assert (x_K[0], x_K[-1], y_K[0], y_K[-1]) == (-LIMIT, LIMIT, -LIMIT, LIMIT)


@pytest.mark.parametrize(("shift", "scale"), [(2.3, 1.0), (-2.3, 1.0), (0.0, 2.0), (0.0, 0.5), (1.0, 3.0)])
def test_what_is_off_is_put_right_on_other_rows_and_keeps_its_order(shift: float, scale: float) -> None:
    fitted = knots(*planted(150_000, shift, scale))
    logit_N, label_N = planted(200_000, shift, scale, seed=1)
    after_N = calibrated(fitted, logit_N)
    assert expected_calibration_error(label_N, after_N) < 0.005 < ece(logit_N, label_N) / 5
    assert abs(auc(label_N, after_N) - auc(label_N, logit_N)) < 1e-6
    assert after_N.mean() == pytest.approx(label_N.mean(), rel=0.01)


def test_what_is_right_is_left_alone() -> None:
    x_K, y_K = knots(*planted(100_000))
    logit_N, label_N = planted(200_000, seed=1)
    true_N = 1 / (1 + np.exp(-logit_N))
    assert np.abs(calibrated((x_K, y_K), logit_N) - true_N).mean() < 0.006
    assert expected_calibration_error(label_N, calibrated((x_K, y_K), logit_N)) < 0.005


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_head_with_few_cases_keeps_its_logits(label: float) -> None:
    """Without any positive, and with one less than it takes; the same for negatives."""
    logit_N, _ = planted(5_000)
    for cases in (0, MIN_CASES - 1):
        label_N = np.full(len(logit_N), label, dtype=np.float32)
        label_N[:cases] = 1 - label
        x_K, y_K = knots(logit_N, label_N)
        assert x_K.tolist() == y_K.tolist() == [-LIMIT, LIMIT]


def test_no_rows_are_the_identity() -> None:
    assert knots(np.empty(0), np.empty(0))[0].tolist() == [-LIMIT, LIMIT]


def test_rows_that_are_not_finite_and_rows_that_all_tie_are_no_harm() -> None:
    logit_N, label_N = planted(5_000)
    odd_N, none_N = np.array([np.nan, np.inf, -np.inf]), np.zeros(3)
    expected, found = knots(logit_N, label_N), knots(np.append(logit_N, odd_N), np.append(label_N, none_N))
    np.testing.assert_array_equal(expected, found)
    x_K, _ = knots(np.zeros(5_000), label_N)
    assert x_K.tolist() == [-LIMIT, 0.0, LIMIT]
    extreme_K = knots(np.where(label_N > 0, 80.0, -80.0), label_N)
    assert (np.diff(extreme_K) > 0).all()
