"""What the three graphs of a bundle say of a test window. Knows graphs and rows; what the answers are worth is not said here.

Shapes: N impressions, T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.schema import Stage
from training.bundle_evaluation.judged_log import WindowRows
from training.bundle_evaluation.opened import OpenedBundle
from training.evaluation import labels
from training.models.graph_inputs import stage_batches
from training.ranking_set import RankingSet

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """What the graphs say of some impressions. Probabilities are calibrated: calibration is part of the graphs."""

    probability_NT: Mapping[Stage, Float32]  # of rank and rerank
    prerank_N: Float32  # scores: only their order inside a request means something


@dataclass(frozen=True)
class BundlePredictions:
    """Answers of one bundle, by what they are for: `neutral` for NDCG, `frozen` for GAUC, `answers` for all else.

    See `WindowRows`: the last are of the impressions as they were, at the places where they were shown.
    """

    version: str
    tasks: tuple[str, ...]
    rows: RankingSet
    answers: Answers
    neutral: Answers
    frozen: Answers

    def of_task(self, stage: Stage, task: str) -> Float32:
        """Probabilities of one head. Shape [N]."""
        return self._head(self.answers, stage, task)

    def frozen_of_task(self, stage: Stage, task: str) -> Float32:
        """Probabilities of one head for the same impressions as serving would have asked at the window's start. Shape [N]."""
        return self._head(self.frozen, stage, task)

    def neutral_of_task(self, stage: Stage, task: str) -> Float32:
        """Probabilities of one head for the same impressions at the place that serving assumes. Shape [N]."""
        return self._head(self.neutral, stage, task)

    def label_N(self, task: str) -> Float32:
        """Whether the user did it."""
        return labels(self.rows, (task,))[:, 0]

    def _head(self, answers: Answers, stage: Stage, task: str) -> Float32:
        return np.ascontiguousarray(answers.probability_NT[stage][:, self.tasks.index(task)])


def predict(opened: OpenedBundle, window: WindowRows) -> BundlePredictions:
    """Runs all stages over all impressions, also those that the cascade would have dropped earlier."""

    def answers(rows: RankingSet) -> Answers:
        said = {stage: opened.run(stage, stage_batches(rows, stage, window.items, window.tables)) for stage in Stage}
        prerank_N = said.pop(Stage.PRERANK)
        return Answers(said, prerank_N)

    came = answers(window.rows)
    neutral = came if window.neutral is window.rows else answers(window.neutral)
    return BundlePredictions(opened.version, opened.tasks, window.rows, came, neutral, answers(window.frozen))
