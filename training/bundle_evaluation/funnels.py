"""What a bundle's cascade keeps of what its deep ranker would have chosen, on candidates of users at the end of a log.

Candidates come from whoever calls, as in training. Shapes: N candidates, B users, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundles.manifest import DEFAULT_WEIGHTS
from features.schema import Stage
from training.bundle_evaluation.judged_log import JudgedLog
from training.bundle_evaluation.opened import OpenedBundle
from training.distillation import popularity_scores
from training.errors import EvaluationError
from training.funnel import FunnelValues, funnel_values
from training.models.graph_inputs import stage_batches
from training.progress import Progress
from training.slate_sourcing import Sourcing, sample_of_users, sourced_slates

Float32 = NDArray[np.float32]

SLATE_SIZE = 500
USERS = 400


@dataclass(frozen=True)
class BundleFunnel:
    """The cascade with the bundle's student, and with candidates in the order of their clicks instead."""

    distilled: FunnelValues
    popularity: FunnelValues


def bundle_funnel(
    opened: OpenedBundle,
    judged: JudgedLog,
    sourcing: Sourcing,
    progress: Progress,
    users: int = USERS,
    seed: int = 0,
) -> BundleFunnel:
    """Measures the cascade for a sample of the log's users, who are the same for every bundle.

    Users and their histories are those of the log, candidates and what is known about them are the bundle's: as if it served
    at the end of the log. Raises EvaluationError when nothing is sourced.
    """
    sample = sample_of_users(judged.log, users, seed)
    time_ms = judged.dataset.as_of_ms
    slates = sourced_slates(
        judged.contexts, opened.items, sourcing, sample, time_ms=time_ms, size=SLATE_SIZE, progress=progress
    )
    if len(slates.row_N) == 0:
        raise EvaluationError(f"bundle {opened.version} sources no candidates for users of {judged.dataset.name!r}")

    def run(stage: Stage) -> Float32:
        return opened.run(stage, stage_batches(slates, stage, opened.items, opened.embeddings))

    weights = opened.bundle.manifest.value_weights[DEFAULT_WEIGHTS]
    weight_T = np.array([weights.get(task, 0.0) for task in opened.tasks], dtype=np.float32)
    light_N, deep_N = run(Stage.RANK) @ weight_T, run(Stage.RERANK) @ weight_T
    return BundleFunnel(
        distilled=funnel_values(slates, run(Stage.PRERANK), light_N, deep_N),
        popularity=funnel_values(slates, popularity_scores(slates), light_N, deep_N),
    )
