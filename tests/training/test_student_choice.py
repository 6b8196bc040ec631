"""The loss of the student is chosen by what the funnel keeps, on slates that taught nobody, and again alike when resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.training.models.worlds import DENSE_SIGNAL, slates
from training.checkpoints import KeepNothing, RunDirectory
from training.distillation import ListLoss, StudentConfig
from training.errors import FitError
from training.fit import FitConfig
from training.funnel import FunnelReport, FunnelSizes
from training.metrics import Interval
from training.progress import Progress
from training.slates import Slates
from training.student_choice import best, choose_student, not_compared

SLATES = slates(48, size=40)
CONFIG = StudentConfig(
    fit=FitConfig(epochs=3, learning_rate=1e-2, batch_rows=400),
    sizes=FunnelSizes(prerank=12, rank=8, page=4),
    compare_losses=(ListLoss.SOFTMAX, ListLoss.PSELECT),
)


class Steps:
    """Remembers the names of the steps; stops like an impatient user inside the one it is told."""

    def __init__(self, stop_in: str = "") -> None:
        self.names, self._stop_in = list[str](), stop_in

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        self.names.append(name)

        def report(done: int, total: int) -> None:
            if self._stop_in and self._stop_in in name and done == 7:
                raise KeyboardInterrupt

        yield report


def values(of: Slates) -> NDArray[np.float32]:
    return np.nan_to_num(of.dense_NF[:, DENSE_SIGNAL])


def kept(recall: float, value: float) -> FunnelReport:
    recall_page, funnel_value = (Interval(mean, mean, mean) for mean in (recall, value))
    return FunnelReport(recall_page, recall_page, recall_page, recall_page, funnel_value, n_slates=9, n_valued=9)


def test_every_loss_is_tried_and_the_table_is_json() -> None:
    steps = Steps()
    choice = choose_student(CONFIG, SLATES, values(SLATES), values, steps, KeepNothing())
    assert steps.names == ["student (prerank), softmax", "student (prerank), pselect"]
    found = json.loads(json.dumps(choice.metrics()))
    assert (found["chosen"], list(found["table"])) == (choice.chosen.value, ["softmax", "pselect"])
    row = found["table"]["softmax"]
    assert set(row) == {"recall_page", "recall_rank", "ndcg", "funnel_value", "seconds"}
    assert 0.6 < row["recall_page"]["low"] <= row["recall_page"]["mean"] <= 1
    assert row["seconds"] > 0
    assert choice.student is choice.candidates[choice.chosen].student


def test_the_slates_that_choose_teach_nothing_and_stop_nothing() -> None:
    teacher_N = values(SLATES)
    other_N = teacher_N.copy()
    choosing_N = SLATES.request_N % 8 == 7
    other_N[choosing_N] *= -1
    found, turned = (
        choose_student(CONFIG, SLATES, scores_N, values, Steps(), KeepNothing()) for scores_N in (teacher_N, other_N)
    )
    for loss in CONFIG.compare_losses:
        assert found.candidates[loss].student.curve == turned.candidates[loss].student.curve
        assert found.candidates[loss].kept.recall_page.mean > turned.candidates[loss].kept.recall_page.mean + 0.3
        assert found.candidates[loss].kept.n_slates == 6


@pytest.mark.parametrize("stop_in", ["softmax", "pselect"])
def test_an_interrupted_comparison_ends_with_the_same_students(tmp_path: Path, stop_in: str) -> None:
    whole = choose_student(CONFIG, SLATES, values(SLATES), values, Steps(), KeepNothing())
    run = RunDirectory(tmp_path, print)
    with pytest.raises(KeyboardInterrupt):
        choose_student(CONFIG, SLATES, values(SLATES), values, Steps(stop_in), run)
    assert (tmp_path / f"student_{stop_in}.npz").exists()
    resumed = choose_student(CONFIG, SLATES, values(SLATES), values, Steps(), run)
    assert resumed.chosen == whole.chosen
    for loss, candidate in whole.candidates.items():
        assert resumed.candidates[loss].kept == candidate.kept
        again = resumed.candidates[loss].student.model.state_dict()
        assert all(torch.equal(weight, again[name]) for name, weight in candidate.student.model.state_dict().items())


def test_recall_counts_first_then_value_then_the_order_of_the_list() -> None:
    mle, softmax, pselect = ListLoss.LIST_MLE, ListLoss.SOFTMAX, ListLoss.PSELECT
    assert best({mle: kept(0.98, 0.999), softmax: kept(0.99, 0.9)}) is softmax
    assert best({mle: kept(0.9901, 0.98), softmax: kept(0.9899, 0.99)}) is softmax
    assert best({mle: kept(0.99, 0.99), softmax: kept(0.99, 0.99), pselect: kept(0.98, 1.0)}) is mle


def test_a_value_that_is_undefined_loses_to_one_that_is_not() -> None:
    assert best({ListLoss.LIST_MLE: kept(0.9, np.nan), ListLoss.SOFTMAX: kept(0.9, 0.5)}) is ListLoss.SOFTMAX
    assert best({ListLoss.LIST_MLE: kept(np.nan, np.nan)}) is ListLoss.LIST_MLE


def test_too_few_slates_to_choose_with_are_refused() -> None:
    few = slates(7, size=10)
    with pytest.raises(FitError, match="7 slates are too few to compare losses"):
        choose_student(CONFIG, few, values(few), values, Steps(), KeepNothing())


def test_a_fixed_loss_says_so() -> None:
    assert not_compared(replace(CONFIG, loss=ListLoss.PSELECT).loss) == {"chosen": "pselect", "table": {}}
