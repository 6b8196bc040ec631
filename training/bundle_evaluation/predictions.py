"""What the three graphs of a bundle say of a test window. Knows graphs and rows; what the answers are worth is not said here.

Shapes: N impressions, T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.schema import RANKERS, Stage
from training.bundle_evaluation.judged_log import WindowRows
from training.bundle_evaluation.opened import OpenedBundle
from training.evaluation import labels
from training.models.graph_inputs import stage_batches
from training.ranking_set import RankingSet

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class BundlePredictions:
    """Answers of one bundle. Probabilities are calibrated: calibration is part of the graphs."""

    version: str
    tasks: tuple[str, ...]
    rows: RankingSet
    probability_NT: Mapping[Stage, Float32]  # of rank and rerank
    prerank_N: Float32  # scores: only their order inside a request means something

    def of_task(self, stage: Stage, task: str) -> Float32:
        """Probabilities of one head. Shape [N]."""
        return np.ascontiguousarray(self.probability_NT[stage][:, self.tasks.index(task)])

    def label_N(self, task: str) -> Float32:
        """Whether the user did it."""
        return labels(self.rows, (task,))[:, 0]


def predict(opened: OpenedBundle, window: WindowRows) -> BundlePredictions:
    """Runs all stages over all impressions, also those that the cascade would have dropped earlier."""

    def run(stage: Stage) -> Float32:
        return opened.run(stage, stage_batches(window.rows, stage, window.items, window.tables))

    probability_NT = {stage: run(stage) for stage in Stage if stage in RANKERS}
    return BundlePredictions(opened.version, opened.tasks, window.rows, probability_NT, run(Stage.PRERANK))
