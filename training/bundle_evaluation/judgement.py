"""Everything that is measured of one bundle on one window, and two bundles against each other. Knows measures by name only.

Shapes: N impressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bundles.manifest import DEFAULT_WEIGHTS
from features.schema import RANKERS, Stage
from training.bundle_evaluation.funnels import BundleFunnel, bundle_funnel
from training.bundle_evaluation.judged_log import JudgedLog, Window, WindowRows
from training.bundle_evaluation.measures import draws_of, judge, judge_order
from training.bundle_evaluation.opened import OpenedBundle
from training.bundle_evaluation.predictions import BundlePredictions, predict
from training.progress import Steps
from training.resampling import Draws, Judged
from training.slate_sourcing import Sourcing

Measured = Mapping[Stage, Mapping[str, Mapping[str, Judged]]]  # stage, task, measure


@dataclass(frozen=True)
class Judgement:
    """One bundle on one window."""

    opened: OpenedBundle
    window: WindowRows
    predictions: BundlePredictions
    measured: Measured  # all of `MEASURES` of rank and rerank, what an order is worth of prerank
    funnel: BundleFunnel

    def figures(self) -> dict[str, Any]:
        """Means and intervals by name."""
        return {
            "bundle": self.opened.version,
            "value_weights": self.opened.bundle.manifest.value_weights[DEFAULT_WEIGHTS],
            "stages": {
                stage.value: {
                    task: {name: asdict(judged.interval()) for name, judged in measures.items()}
                    for task, measures in of_task.items()
                }
                for stage, of_task in self.measured.items()
            },
            "funnel": asdict(self.funnel.distilled.report()),
            "funnel_popularity_prerank": asdict(self.funnel.popularity.report()),
        }

    def minus(self, other: Judgement) -> dict[str, Any]:
        """Paired differences by name, for the tasks that both predict. Both must be of the same window and log."""
        return {
            "stages": {
                stage.value: {
                    task: {
                        name: asdict(judged.minus(other.measured[stage][task][name])) for name, judged in mine.items()
                    }
                    for task, mine in of_task.items()
                    if task in other.measured[stage]
                }
                for stage, of_task in self.measured.items()
            },
            "funnel": {
                name: asdict(lead) for name, lead in self.funnel.distilled.minus(other.funnel.distilled).items()
            },
        }

    def about(self) -> dict[str, Any]:
        """What the window holds: the same for every bundle, but for the tasks that it predicts."""
        rows = self.predictions.rows
        label_N = {task: self.predictions.label_N(task) for task in self.predictions.tasks}
        return {
            "impressions": len(rows),
            "requests": rows.n_requests,
            "users": len(np.unique(rows.user_N)),
            "tasks": {
                task: {"positives": int(found_N.sum()), "base_rate": float(found_N.mean())}
                for task, found_N in label_N.items()
            },
        }


def judge_bundle(
    opened: OpenedBundle, log: JudgedLog, window: Window, sourcing: Sourcing, users: int, steps: Steps
) -> Judgement:
    """Measures a bundle on the window, and its funnel for `users` users at the end of the log.

    Raises EvaluationError as `JudgedLog.rows` and `bundle_funnel` do.
    """
    with steps.step(f"rows as {opened.version[-12:]} sees them") as report:
        rows = log.rows(opened, window, report)
    with steps.step(f"predictions of {opened.version[-12:]}"):
        predictions = predict(opened, rows)
    with steps.step(f"measures of {opened.version[-12:]}") as report:
        measured: dict[Stage, dict[str, dict[str, Judged]]] = {stage: {} for stage in Stage}
        draws = draws_of(predictions)
        for number, task in enumerate(opened.tasks, start=1):
            for stage in Stage:
                measured[stage][task] = _measures(predictions, stage, task, draws)
            report(number, len(opened.tasks))
    with steps.step(f"funnel of {opened.version[-12:]}") as report:
        funnel = bundle_funnel(opened, log, sourcing, report, users)
    return Judgement(opened, rows, predictions, measured, funnel)


def _measures(predictions: BundlePredictions, stage: Stage, task: str, draws: Draws) -> dict[str, Judged]:
    if stage in RANKERS:
        return judge(predictions, stage, task, draws)
    return judge_order(predictions, task, draws)
