"""Negatives are sampled row by row, the closed form undoes it, and what rankers then predict is the rate of unsampled rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.training.models.worlds import item_table, ranking_set
from training import rankers
from training.calibration import knots
from training.fit import FitConfig
from training.metrics import expected_calibration_error
from training.models.calibration import Calibration
from training.negative_sampling import kept_rows, prior_correction
from training.rankers import RankConfig, RerankConfig, train_rank, train_rerank

FIT = FitConfig(epochs=3, batch_rows=1000)


def ids(n: int) -> tuple[NDArray[np.int64], ...]:
    return np.arange(n) // 10, np.arange(n) % 10


def test_rows_with_a_label_stay_and_of_the_others_the_share() -> None:
    label_NT = (np.random.default_rng(0).random((100_000, 2)) < 0.1).astype(np.float32)
    kept_N = kept_rows(label_NT, ids(len(label_NT)), 0.3)
    labelled_N = label_NT.any(axis=1)
    assert kept_N[labelled_N].all()
    assert kept_N[~labelled_N].mean() == pytest.approx(0.3, abs=0.01)
    assert kept_rows(label_NT, ids(len(label_NT)), 1.0).all()


def test_the_fate_of_a_row_depends_on_no_other_row() -> None:
    label_NT, (request_N, item_N) = np.zeros((1_000, 1), dtype=np.float32), ids(1_000)
    kept_N = kept_rows(label_NT, (request_N, item_N), 0.5)
    part_N = kept_rows(label_NT[::-3], (request_N[::-3], item_N[::-3]), 0.5)
    assert np.array_equal(part_N, kept_N[::-3])
    assert not np.array_equal(kept_N, kept_rows(label_NT, (item_N, request_N), 0.5))


def test_a_tenth_of_the_negatives_is_undone_in_closed_form_and_by_the_knots() -> None:
    """Planted as in algorithms.md, section 11: the network has learned the odds of the sample, ten times too high."""
    random = np.random.default_rng(0)
    true_N = random.normal(-2.2, 1.2, 300_000)
    label_N = (random.random(len(true_N)) < 1 / (1 + np.exp(-true_N))).astype(np.float32)
    kept_N = kept_rows(label_N[:, None], ids(len(label_N)), 0.1)
    said_N = (true_N - np.log(kept_N[label_N == 0].mean())).astype(np.float32)
    prior_T = prior_correction(label_N[:, None], kept_N)
    fitting, test = slice(None, None, 2), slice(1, None, 2)

    def ece(calibration: Calibration) -> float:
        probability_N1 = calibration(torch.from_numpy(said_N[test])[:, None])
        return expected_calibration_error(label_N[test], probability_N1[:, 0].numpy())

    calibration = Calibration(1)
    assert ece(calibration) > 0.3
    calibration.set_knots([knots(said_N[fitting], label_N[fitting])])  # the knots alone
    assert ece(calibration) < 0.005
    calibration = Calibration(1)
    calibration.correct_prior(prior_T)
    assert ece(calibration) < 0.005
    calibration.set_knots([knots(said_N[fitting] + prior_T[0], label_N[fitting])])
    assert ece(calibration) < 0.005


@pytest.mark.parametrize("stage", ["rank", "rerank"])
def test_rankers_that_saw_few_negatives_predict_the_rates_of_all(stage: str) -> None:
    train, valid = ranking_set(1_500, 0), ranking_set(1_000, 1)
    deep = train_rerank(RerankConfig(FIT, negative_share=0.1), train, valid, item_table())
    trained = deep if stage == "rerank" else train_rank(RankConfig(FIT, negative_share=0.1), train, valid, deep)
    test = rankers.predictions(trained, ranking_set(2_000, 2)).metrics()
    # 500 requests calibrate; that leaves about .03 by chance.
    assert all(found.ece < min(0.045, 0.6 * found.ece_before) for found in test.values())


def test_a_share_that_keeps_nothing_is_refused() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"negative_share lies in \(0, 1\]"):
            RankConfig(negative_share=share)
