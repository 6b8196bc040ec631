"""Training of the two rankers from ranking sets, and what they are worth on later requests. Knows nothing of files.

Shapes: N impressions, B requests, T tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.dense import FEATURES
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from training import metrics
from training.errors import FitError
from training.fit import CurvePoint, FitConfig, Progress, fit, seeded
from training.losses import multi_task_loss
from training.models.candidate_rows import Batcher, CandidateRows, joined, stage_columns
from training.models.deep import DeepRanker
from training.models.id_embeddings import EmbeddingConfig, IdEmbeddings
from training.models.light import LightRanker
from training.ranking_set import RankingSet

Float32 = NDArray[np.float32]

MIN_POSITIVES = 50
_EVALUATION_ROWS = 100_000  # validation rows that early stopping looks at; the final metrics see all of them


@dataclass(frozen=True)
class RankConfig:
    """The light ranker. `soft_weight` is the share of its loss that follows the deep ranker, where there is one."""

    fit: FitConfig = field(default_factory=FitConfig)
    soft_weight: float = 0.5
    min_positives: int = MIN_POSITIVES


@dataclass(frozen=True)
class RerankConfig:
    """The deep ranker and its embedding tables."""

    fit: FitConfig = field(default_factory=FitConfig)
    embeddings: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    min_positives: int = MIN_POSITIVES


@dataclass(frozen=True)
class TaskMetrics:
    """One head on validation impressions. AUC and GAUC are NaN where only one class occurs."""

    auc: float
    gauc: float
    log_loss: float
    ece: float
    base_rate: float
    n_positives: int


@dataclass(frozen=True)
class TrainedRank:
    """The light ranker with what it learned to predict and how well."""

    model: LightRanker
    tasks: tuple[str, ...]
    metrics: Mapping[str, TaskMetrics]
    curve: tuple[CurvePoint, ...]

    def probabilities(self, rows: CandidateRows) -> Float32:
        """P(task | impression) of every candidate, [N, T]."""
        return _light_probabilities(self.model, rows, len(self.tasks))


@dataclass(frozen=True)
class TrainedRerank:
    """The deep ranker with its tables, what it learned to predict and how well."""

    model: DeepRanker
    embeddings: IdEmbeddings
    tasks: tuple[str, ...]
    metrics: Mapping[str, TaskMetrics]
    curve: tuple[CurvePoint, ...]

    def probabilities(self, rows: CandidateRows) -> Float32:
        """P(task | impression) of every candidate, [N, T]."""
        return _deep_probabilities(self.model, self.embeddings, rows, len(self.tasks))


def kept_tasks(train: RankingSet, min_positives: int) -> tuple[str, ...]:
    """Tasks with enough positives to learn from, in the order of the set. Raises FitError when none is left."""
    positives_T = train.label_NT.sum(axis=0)
    kept = tuple(task for task, n in zip(train.tasks, positives_T, strict=True) if n >= min_positives)
    if not kept:
        counts = ", ".join(f"{task} {int(n)}" for task, n in zip(train.tasks, positives_T, strict=True))
        raise FitError(f"no task has {min_positives} positives ({counts}); widen the window or lower min_positives")
    return kept


def train_rerank(
    config: RerankConfig, train: RankingSet, valid: RankingSet, items: ItemTable, progress: Progress | None = None
) -> TrainedRerank:
    """The deep ranker. `items` tells author and topic of the rows. Raises FitError as `fit` and `kept_tasks` do."""
    tasks = kept_tasks(train, config.min_positives)
    seen_X = np.concatenate([train.row_N, train.history_row_BL.ravel()])
    with seeded(config.fit.seed):
        embeddings = IdEmbeddings(items, seen_X, config.embeddings)
        model = DeepRanker(of_stage(FEATURES, Stage.RERANK), config.embeddings.width, len(tasks))
    targets = _prepare(model, train, tasks, Stage.RERANK)
    batcher = Batcher(train, Stage.RERANK)

    def batch_loss(request_R: NDArray[np.int64]) -> Tensor:
        candidate_N, inputs = batcher.deep_inputs(request_R, embeddings)
        return multi_task_loss(model(*inputs), targets[candidate_N])

    probe = _probe(valid)

    def valid_loss() -> float:
        return _loss(_deep_probabilities(model, embeddings, probe, len(tasks)), _labels(probe, tasks))

    curve = fit(
        nn.ModuleList([model, embeddings]),
        batch_loss,
        valid_loss,
        n_requests=train.n_requests,
        n_rows=len(train),
        config=config.fit,
        progress=progress,
    )
    found = _evaluate(_deep_probabilities(model, embeddings, valid, len(tasks)), valid, tasks)
    return TrainedRerank(model, embeddings, tasks, found, curve)


def train_rank(
    config: RankConfig,
    train: RankingSet,
    valid: RankingSet,
    teacher: TrainedRerank | None = None,
    progress: Progress | None = None,
) -> TrainedRank:
    """The light ranker, on labels and on what `teacher` predicts for the same rows.

    Raises FitError as `fit` and `kept_tasks` do, and when the teacher predicts other tasks.
    """
    tasks = kept_tasks(train, config.min_positives)
    if teacher is not None and teacher.tasks != tasks:
        raise FitError(f"the teacher predicts {teacher.tasks}, this ranker {tasks}; train both on the same set")
    with seeded(config.fit.seed):
        model = LightRanker(of_stage(FEATURES, Stage.RANK), len(tasks))
    targets = _prepare(model, train, tasks, Stage.RANK)
    soft = torch.from_numpy(teacher.probabilities(train)) if teacher is not None else None
    batcher = Batcher(train, Stage.RANK)

    def batch_loss(request_R: NDArray[np.int64]) -> Tensor:
        candidate_N, _ = batcher.candidates_of(request_R)
        logit_NT = model(batcher.dense(candidate_N))
        soft_NT = soft[candidate_N] if soft is not None else None
        return multi_task_loss(logit_NT, targets[candidate_N], soft_NT, config.soft_weight)

    probe = _probe(valid)

    def valid_loss() -> float:
        return _loss(_light_probabilities(model, probe, len(tasks)), _labels(probe, tasks))

    curve = fit(
        model,
        batch_loss,
        valid_loss,
        n_requests=train.n_requests,
        n_rows=len(train),
        config=config.fit,
        progress=progress,
    )
    return TrainedRank(model, tasks, _evaluate(_light_probabilities(model, valid, len(tasks)), valid, tasks), curve)


def evaluate(trained: TrainedRank | TrainedRerank, rows: RankingSet) -> dict[str, TaskMetrics]:
    """What a trained ranker is worth on other impressions than those it was stopped on, per task."""
    return _evaluate(trained.probabilities(rows), rows, trained.tasks)


def _light_probabilities(model: LightRanker, rows: CandidateRows, n_tasks: int) -> Float32:
    batcher = Batcher(rows, Stage.RANK)
    with torch.inference_mode():
        parts = [
            torch.sigmoid(model(batcher.dense(batcher.candidates_of(request_R)[0])))
            for request_R in batcher.all_requests()
        ]
    return joined(parts, n_tasks)


def _deep_probabilities(model: DeepRanker, embeddings: IdEmbeddings, rows: CandidateRows, n_tasks: int) -> Float32:
    batcher = Batcher(rows, Stage.RERANK)
    with torch.inference_mode():
        parts = [
            torch.sigmoid(model(*batcher.deep_inputs(request_R, embeddings)[1])) for request_R in batcher.all_requests()
        ]
    return joined(parts, n_tasks)


def _prepare(model: LightRanker | DeepRanker, train: RankingSet, tasks: tuple[str, ...], stage: Stage) -> Tensor:
    """Fits the input scaling and the starting biases; returns the labels of `tasks` as a tensor [N, T]."""
    label_NT = _labels(train, tasks)
    rate_T = np.clip(label_NT.mean(axis=0, dtype=np.float64), 1e-6, 1 - 1e-6)
    model.dense.fit(train.dense_NF[:, stage_columns(stage)])
    model.start_at(torch.from_numpy(np.log(rate_T / (1 - rate_T))))
    return torch.from_numpy(label_NT)


def _labels(rows: RankingSet, tasks: tuple[str, ...]) -> Float32:
    return np.ascontiguousarray(rows.label_NT[:, [rows.tasks.index(task) for task in tasks]], dtype=np.float32)


def _probe(valid: RankingSet) -> RankingSet:
    """Evenly spread validation requests, few enough to be looked at several times per epoch."""
    if len(valid) == 0:
        raise FitError("no validation rows; move the end of the training window back")
    return valid.select(slice(None, None, math.ceil(len(valid) / _EVALUATION_ROWS)))


def _loss(probability_NT: Float32, label_NT: Float32) -> float:
    return metrics.log_loss(label_NT.ravel(), probability_NT.ravel())


def _evaluate(probability_NT: Float32, rows: RankingSet, tasks: tuple[str, ...]) -> dict[str, TaskMetrics]:
    label_NT = _labels(rows, tasks)
    return {
        task: TaskMetrics(
            auc=metrics.auc(label_N, probability_N),
            gauc=metrics.gauc(label_N, probability_N, rows.user_N),
            log_loss=metrics.log_loss(label_N, probability_N),
            ece=metrics.expected_calibration_error(label_N, probability_N),
            base_rate=float(label_N.mean()),
            n_positives=int(label_N.sum()),
        )
        for task, label_N, probability_N in zip(tasks, label_NT.T, probability_NT.T, strict=True)
    }
