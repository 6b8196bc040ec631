"""The prerank student learns in which order the later stages rank whole slates. Knows neither retrieval nor the value weights.

Shapes: N candidates of all slates, B slates (one user each), R slates of one batch, C places in the longest slate, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.actions import TASKS
from features.dense import FEATURES
from features.schema import Stage, of_stage
from training.checkpoints import Checkpoint
from training.errors import FitError
from training.fit import CurvePoint, FitConfig, Progress, fit, seeded
from training.funnel import FunnelSizes
from training.list_losses import lambda_loss, softmax_cross_entropy, top_set_cross_entropy, truncated_list_mle
from training.models.candidate_rows import Batcher, CandidateRows, stage_columns
from training.models.student import PrerankStudent
from training.slates import Slates

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


class Ranker(Protocol):
    """`TrainedRank` and `TrainedRerank`."""

    @property
    def tasks(self) -> tuple[str, ...]: ...

    def probabilities(self, rows: CandidateRows) -> Float32: ...


def teacher_scores(ranker: Ranker, slates: Slates, value_weights: Mapping[str, float]) -> Float32:
    """The value sum(weight * P(task)) of every candidate, [N].

    Tasks without a head count nothing, since training drops tasks that have no data. Raises ValueError for a weight whose name
    is no task at all.
    """
    unknown = set(value_weights) - {task.name for task in TASKS}
    if unknown:
        raise ValueError(f"value weights for unknown tasks: {', '.join(sorted(unknown))}")
    weight_T = np.array([value_weights.get(task, 0.0) for task in ranker.tasks], dtype=np.float32)
    value_N: Float32 = ranker.probabilities(slates) @ weight_T
    return value_N


def popularity_scores(slates: Slates) -> Float32:
    """The baseline student: candidates in the order of their clicks so far, [N]."""
    names = [feature.name for feature in FEATURES]
    impressions_N = slates.dense_NF[:, names.index("item_impressions")]
    return np.nan_to_num(impressions_N * slates.dense_NF[:, names.index("item_click_rate")])


class ListLoss(StrEnum):
    """What the student minimises (docs/benchmarks/student.md compares them)."""

    LIST_MLE = "list_mle"
    SOFTMAX = "softmax"
    LAMBDA_RANK = "lambda_rank"
    NDCG_LOSS2PP = "ndcg_loss2pp"
    PSELECT = "pselect"


@dataclass(frozen=True)
class StudentConfig:
    """The student. Which places of the teacher's order count, and how much, follows from `sizes`.

    ListMLE learns the order of what rank lets through, PSelect the set that prerank does, and the losses made of pairs have a gain
    for each of the three sets that an item is in. `temperature` is that of softmax, `mu` the weight of NDCG-Loss2++.
    With `compare_losses` the pipeline trains a student for each and keeps the best (`student_choice.py`), whatever `loss` says.
    """

    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=10, batch_rows=8192, patience=4))
    loss: ListLoss = ListLoss.LIST_MLE
    compare_losses: tuple[ListLoss, ...] = ()
    sizes: FunnelSizes = field(default_factory=FunnelSizes)
    temperature: float = 0.5
    mu: float = 10.0
    valid_every: int = 10  # every tenth slate is held out for early stopping


@dataclass(frozen=True)
class TrainedStudent:
    """The student and its learning curve. `stage` says whose features it sees; only those of prerank can be served."""

    model: PrerankStudent
    curve: tuple[CurvePoint, ...]
    stage: Stage = Stage.PRERANK

    def scores(self, rows: CandidateRows) -> Float32:
        """Score of every candidate, [N]; only the order inside a slate has a meaning."""
        batcher = Batcher(rows, self.stage)
        with torch.inference_mode():
            score_N: Float32 = self.model(batcher.dense(torch.arange(len(rows.row_N)))).numpy()
        return score_N


def train_student(
    config: StudentConfig,
    slates: Slates,
    teacher_N: Float32,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    stage: Stage = Stage.PRERANK,
) -> TrainedStudent:
    """A student of the teacher's order over whole slates, discarded candidates included, on the features of `stage`.

    Raises FitError for fewer than two slates, for teacher scores that are not finite, and as `fit` does.
    """
    if len(slates) < 2:
        raise FitError(f"{len(slates)} slates cannot be split into training and validation; retrieve for more users")
    if not np.isfinite(teacher_N).all():
        raise FitError("the teacher gave scores that are not finite; check the value weights")
    held_out_B = np.arange(len(slates)) % min(config.valid_every, len(slates)) == 0
    train_B, valid_B = np.flatnonzero(~held_out_B), np.flatnonzero(held_out_B)
    with seeded(config.fit.seed):
        model = PrerankStudent(of_stage(FEATURES, stage))
    batcher, teacher = Batcher(slates, stage), torch.from_numpy(teacher_N.astype(np.float32))
    model.dense.fit(slates.dense_NF[~held_out_B[slates.request_N]], stage_columns(stage))

    list_loss = _list_loss(config)

    def loss_of(slate_R: Int64) -> Tensor:
        candidate_N, place_N = batcher.candidates_of(slate_R)
        column_N = candidate_N - torch.from_numpy(slates.offsets[slate_R])[place_N]
        shape = (len(slate_R), int(np.diff(slates.offsets)[slate_R].max(initial=1)))
        score_BC, teacher_BC = torch.zeros(shape), torch.zeros(shape)
        score_BC = score_BC.index_put((place_N, column_N), model(batcher.dense(candidate_N)))
        teacher_BC[place_N, column_N] = teacher[candidate_N]
        mask_BC = torch.zeros(shape, dtype=torch.bool)
        mask_BC[place_N, column_N] = True
        return list_loss(score_BC, teacher_BC, mask_BC)

    curve = fit(
        model,
        lambda request_R: loss_of(train_B[request_R]),
        lambda: float(loss_of(valid_B)),
        n_requests=len(train_B),
        n_rows=int((~held_out_B[slates.request_N]).sum()),
        config=config.fit,
        progress=progress,
        checkpoint=checkpoint,
    )
    return TrainedStudent(model, curve, stage)


def _list_loss(config: StudentConfig) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Of scores, teacher and mask, [B, C] each."""
    sizes = (config.sizes.page, config.sizes.rank, config.sizes.prerank)
    losses: dict[ListLoss, Callable[..., Tensor]] = {
        ListLoss.LIST_MLE: partial(truncated_list_mle, top=config.sizes.rank),
        ListLoss.SOFTMAX: partial(softmax_cross_entropy, temperature=config.temperature),
        ListLoss.LAMBDA_RANK: partial(lambda_loss, sizes=sizes),
        ListLoss.NDCG_LOSS2PP: partial(lambda_loss, sizes=sizes, mu=config.mu),
        ListLoss.PSELECT: partial(top_set_cross_entropy, top=config.sizes.prerank),
    }
    return losses[config.loss]
