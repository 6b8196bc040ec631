"""The student learns its teacher's order; the teacher is the weighted sum of its tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from features.dense import FEATURES
from features.schema import Stage
from tests.training.models.worlds import DENSE_SIGNAL, slates
from training.distillation import ListLoss, StudentConfig, popularity_scores, teacher_scores, train_student
from training.errors import FitError
from training.fit import FitConfig
from training.funnel import FunnelSizes, measure_funnel
from training.metrics import recall_at_k
from training.models.candidate_rows import CandidateRows
from training.slates import Slates

FIT = FitConfig(epochs=6, learning_rate=1e-2, batch_rows=1000)
SIZES = FunnelSizes(prerank=30, rank=20, page=10)
SLATES = slates(80)


class Constant:
    """A ranker that says the same of everybody."""

    tasks = ("click", "negative")

    def probabilities(self, rows: CandidateRows) -> NDArray[np.float32]:
        return np.tile(np.array([0.5, 0.1], dtype=np.float32), (len(rows.row_N), 1))


def teacher(signal: int = DENSE_SIGNAL) -> NDArray[np.float32]:
    return np.nan_to_num(SLATES.dense_NF[:, signal])


def _two_signals(of: Slates, other: int) -> NDArray[np.float32]:
    """One feature that all stages have and one that only the rankers do, bent and with missing values."""
    first_N, second_N = of.dense_NF[:, DENSE_SIGNAL], of.dense_NF[:, other]
    return np.tanh(np.nan_to_num(first_N)) + np.nan_to_num(second_N, nan=0.5)


@pytest.mark.parametrize("loss", ListLoss)
def test_the_student_finds_the_teachers_best(loss: ListLoss) -> None:
    trained = train_student(StudentConfig(fit=FIT, loss=loss, sizes=SIZES), SLATES, teacher())
    fresh = slates(30, seed=9)
    best_BC = fresh.padded(np.nan_to_num(fresh.dense_NF[:, DENSE_SIGNAL]), -np.inf)
    relevant_BC = best_BC >= -np.sort(-best_BC, axis=1)[:, 9:10]
    assert recall_at_k(relevant_BC, fresh.padded(trained.scores(fresh), -np.inf), 15).mean() > 0.9


@pytest.mark.parametrize("loss", ListLoss)
def test_a_student_that_sees_all_that_the_teacher_sees_keeps_all_of_its_best(loss: ListLoss) -> None:
    rank_only = [feature.name for feature in FEATURES].index("intent_affinity")
    taught, fresh = slates(150, seed=4), slates(40, seed=5)
    taught_N, fresh_N = (_two_signals(of, rank_only) for of in (taught, fresh))
    config = StudentConfig(fit=FitConfig(epochs=15, learning_rate=2e-2, batch_rows=1000), loss=loss, sizes=SIZES)
    recalls = []
    for stage in (Stage.PRERANK, Stage.RANK):
        student = train_student(config, taught, taught_N, stage=stage)
        report = measure_funnel(fresh, student.scores(fresh), fresh_N, fresh_N, SIZES)
        recalls.append(report.recall_page.mean)
    assert recalls[1] > 0.99
    assert recalls[0] < recalls[1] - 0.05


def test_slates_of_different_lengths_train_together() -> None:
    short = replace(SLATES, offsets=np.append(np.sort(np.random.default_rng(0).integers(0, 4800, 80)), 4800))
    short.offsets[0] = 0
    trained = train_student(StudentConfig(fit=FitConfig(epochs=2)), short, teacher())
    assert np.isfinite([point.valid_loss for point in trained.curve]).all()


def test_the_teachers_value_is_the_weighted_sum_of_its_tasks() -> None:
    value_N = teacher_scores(Constant(), SLATES, {"click": 1.0, "negative": -2.0, "save": 7.0})
    assert value_N.shape == (4800,)
    assert np.allclose(value_N, 0.3)


def test_a_weight_for_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown tasks: clik"):
        teacher_scores(Constant(), SLATES, {"clik": 1.0})


def test_the_baseline_orders_by_clicks_and_survives_missing_counts() -> None:
    names = [feature.name for feature in FEATURES]
    dense_NF = np.full_like(SLATES.dense_NF, np.nan)
    dense_NF[:2, names.index("item_impressions")] = 10, 20
    dense_NF[:2, names.index("item_click_rate")] = 0.5, 0.1
    assert popularity_scores(replace(SLATES, dense_NF=dense_NF))[:3].tolist() == pytest.approx([5.0, 2.0, 0.0])


def test_one_slate_is_too_few() -> None:
    with pytest.raises(FitError, match="1 slates cannot be split"):
        train_student(StudentConfig(), slates(1), np.zeros(60, dtype=np.float32))


def test_a_teacher_that_is_not_finite_is_refused() -> None:
    with pytest.raises(FitError, match="not finite"):
        train_student(StudentConfig(), SLATES, teacher() * np.float32(np.nan))
