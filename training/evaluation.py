"""What a ranker's predictions are worth, per task, before and after calibration. Knows predictions and labels, no networks.

Shapes: N impressions, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.columns import chunks
from training.metrics import Reliability
from training.ranking_set import RankingSet

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TaskMetrics:
    """One head on other impressions than it learned from. AUC and GAUC are NaN where only one class occurs.

    Everything is measured on calibrated probabilities, except `ece_before`: that is the network's own sigmoid. GAUC compares a
    user's impressions as serving would have asked for them when the window began: with the history of that moment, and all at the
    same place on the page. NaN where these predictions are not there. All else sees the places where impressions were shown.
    """

    auc: float
    gauc: float
    log_loss: float
    ece: float
    ece_before: float
    base_rate: float
    n_positives: int


@dataclass(frozen=True)
class CalibrationCurves:
    """Reliability diagrams of one head."""

    before: Reliability
    after: Reliability


@dataclass(frozen=True)
class Predictions:
    """Probabilities [N, T] of some impressions: the network's own and the calibrated ones.

    `frozen_NT` are calibrated ones of the same impressions, each user with the history of the window's start, all at the place that
    serving assumes. GAUC needs them: the place where an item was shown tells what serving does not know. And a user's rates are
    higher after an action than at it, so with the history of each moment what led to the action would rank below what came later,
    whatever it was. Candidates of one request, which a ranker orders, share one history.
    """

    tasks: tuple[str, ...]
    rows: RankingSet
    before_NT: Float32
    after_NT: Float32
    frozen_NT: Float32 | None = None

    def metrics(self) -> dict[str, TaskMetrics]:
        """What they are worth, per task."""
        return {
            task: TaskMetrics(
                auc=metrics.auc(label_N, after_N),
                gauc=self._gauc(number, label_N),
                log_loss=metrics.log_loss(label_N, after_N),
                ece=metrics.expected_calibration_error(label_N, after_N),
                ece_before=metrics.expected_calibration_error(label_N, before_N),
                base_rate=float(label_N.mean()),
                n_positives=int(label_N.sum()),
            )
            for number, (task, label_N, before_N, after_N) in enumerate(self._heads())
        }

    def calibration(self) -> Mapping[str, CalibrationCurves]:
        """How predicted and observed rates lie, per task."""
        return {
            task: CalibrationCurves(metrics.reliability(label_N, before_N), metrics.reliability(label_N, after_N))
            for task, label_N, before_N, after_N in self._heads()
        }

    def _gauc(self, head: int, label_N: Float32) -> float:
        if self.frozen_NT is None:
            return float("nan")
        return metrics.gauc(label_N, self.frozen_NT[:, head], self.rows.user_N)

    def _heads(self) -> Iterator[tuple[str, Float32, Float32, Float32]]:
        label_NT = labels(self.rows, self.tasks)
        return zip(self.tasks, label_NT.T, self.before_NT.T, self.after_NT.T, strict=True)


def labels(rows: RankingSet, tasks: tuple[str, ...]) -> Float32:
    """The labels of `tasks`, [N, T]; those of the set itself where it has no others."""
    if tasks == rows.tasks:
        return rows.label_NT
    column_T = [rows.tasks.index(task) for task in tasks]
    label_NT: Float32 = rows.scratch.empty((len(rows), len(tasks)), np.float32)
    for of in chunks(0, len(rows)):
        label_NT[of] = rows.label_NT[of][:, column_T]
    return label_NT
