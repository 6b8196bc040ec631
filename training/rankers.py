"""Training and calibration of the two rankers from ranking sets. Knows nothing of files.

Shapes: N impressions, B requests, T tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.dense import FEATURES
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from training import metrics
from training.calibration import knots
from training.checkpoints import Checkpoint
from training.columns import Scratch, chunks
from training.errors import FitError
from training.evaluation import Predictions, labels
from training.fit import CurvePoint, FitConfig, Progress, fit, seeded
from training.losses import multi_task_loss
from training.models.architecture import Architecture
from training.models.calibration import Calibration
from training.models.candidate_rows import Batcher, CandidateRows, stage_columns
from training.models.deep import DeepRanker
from training.models.dense_input import spread_over
from training.models.id_embeddings import EmbeddingConfig, IdEmbeddings, occurrences
from training.models.light import LightRanker
from training.models.percentile_input import InputKind
from training.negative_sampling import kept_rows, prior_correction
from training.ranking_set import RankingSet

Float32 = NDArray[np.float32]

MIN_POSITIVES = 50
_EVALUATION_ROWS = 100_000  # validation rows that early stopping looks at; the final metrics see all of them
_CALIBRATION_ROWS = 8_192  # rows calibrated at once: the knots of all heads take 1 kB per row, several times over


@dataclass(frozen=True)
class RankConfig:
    """The light ranker. `soft_weight` is the share of its loss that follows the deep ranker, where there is one."""

    fit: FitConfig = field(default_factory=FitConfig)
    soft_weight: float = 0.5
    min_positives: int = MIN_POSITIVES
    negative_share: float = 1.0  # of the rows without any label, how many training keeps
    input: InputKind = "standard"

    def __post_init__(self) -> None:
        """Raises ValueError for a share that keeps nothing or more than there is."""
        _check_share(self.negative_share)


@dataclass(frozen=True)
class RerankConfig:
    """The deep ranker and its embedding tables. `tasks`, if given, are the only ones it learns.

    One epoch: in a second one the id embeddings learn the training rows by heart. docs/decisions/0014 has the figures.
    """

    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=1))
    embeddings: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    architecture: Architecture = field(default_factory=lambda: Architecture(mixture="ple", crosses="dcn"))
    min_positives: int = MIN_POSITIVES
    negative_share: float = 1.0  # of the rows without any label, how many training keeps
    input: InputKind = "standard"
    tasks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a share that keeps nothing or more than there is."""
        _check_share(self.negative_share)


@dataclass(frozen=True)
class TrainedRank:
    """The light ranker with what it learned to predict, and how it went; `predictions` says how well."""

    model: LightRanker
    calibration: Calibration
    tasks: tuple[str, ...]
    curve: tuple[CurvePoint, ...]

    def logits(self, rows: CandidateRows) -> Float32:
        """What the network itself says, [N, T]."""
        return _light_logits(self.model, rows, len(self.tasks))

    def probabilities(self, rows: CandidateRows) -> Float32:
        """Calibrated P(task | impression) of every candidate, [N, T]."""
        return _calibrated(self.calibration, self.logits(rows), rows.scratch)


@dataclass(frozen=True)
class TrainedRerank:
    """The deep ranker with its tables, what it learned to predict, and how it went; `predictions` says how well."""

    model: DeepRanker
    calibration: Calibration
    embeddings: IdEmbeddings
    tasks: tuple[str, ...]
    curve: tuple[CurvePoint, ...]

    def logits(self, rows: CandidateRows) -> Float32:
        """What the network itself says, [N, T]."""
        return _deep_logits(self.model, self.embeddings, rows, len(self.tasks))

    def probabilities(self, rows: CandidateRows) -> Float32:
        """Calibrated P(task | impression) of every candidate, [N, T]."""
        return _calibrated(self.calibration, self.logits(rows), rows.scratch)


def kept_tasks(train: RankingSet, min_positives: int, only: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Tasks with enough positives to learn from, of `only` if given, in the order of the set.

    Raises FitError when none is left, and for a name in `only` that is no task of the set.
    """
    unknown = set(only or ()) - set(train.tasks)
    if unknown:
        raise FitError(f"tasks {', '.join(sorted(unknown))} are none of this set; it has {', '.join(train.tasks)}")
    positives_T = train.label_NT.sum(axis=0, dtype=np.float64)
    enough = [task for task, n in zip(train.tasks, positives_T, strict=True) if n >= min_positives]
    kept = tuple(task for task in enough if only is None or task in only)
    if not kept:
        counts = ", ".join(f"{task} {int(n)}" for task, n in zip(train.tasks, positives_T, strict=True))
        raise FitError(f"no task has {min_positives} positives ({counts}); widen the window or lower min_positives")
    return kept


def train_rerank(
    config: RerankConfig,
    train: RankingSet,
    valid: RankingSet,
    items: ItemTable,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedRerank:
    """The deep ranker. `items` tells author and topic of the rows. Raises FitError as `fit` and `kept_tasks` do.

    Every other request of `valid` stops training, those between them calibrate.
    """
    tasks = kept_tasks(train, config.min_positives, config.tasks)
    stopping, held_out = _halves(valid)
    train, calibration = _sampled(train, tasks, config.negative_share)
    count_M = occurrences(len(items.media_id_M), train.row_N, train.history_row_BL)
    with seeded(config.fit.seed):
        embeddings = IdEmbeddings(items, count_M, config.embeddings)
        model = DeepRanker(
            of_stage(FEATURES, Stage.RERANK), config.embeddings.width, len(tasks), config.input, config.architecture
        )
    targets = _prepare(model, train, tasks, Stage.RERANK)
    batcher, probe = Batcher(train, Stage.RERANK), _probe(stopping)

    def batch_loss(request_R: NDArray[np.int64]) -> Tensor:
        candidate_N, inputs = batcher.deep_inputs(request_R, embeddings)
        return multi_task_loss(model(*inputs), targets[candidate_N])

    def valid_loss() -> float:
        return _loss(calibration, _deep_logits(model, embeddings, probe, len(tasks)), labels(probe, tasks))

    curve = fit(
        nn.ModuleList([model, embeddings]),
        batch_loss,
        valid_loss,
        n_requests=train.n_requests,
        n_rows=len(train),
        config=config.fit,
        progress=progress,
        checkpoint=checkpoint,
    )
    if model.blend is not None:
        some = spread_over(len(train))
        model.blend.regression.fit(_scaled(model, train.dense_NF[some]), targets[some])
        logit_NT = _deep_logits(model, embeddings, probe, len(tasks))
        model.blend.choose(logit_NT, _scaled(model, probe.dense_NF), labels(probe, tasks), calibration.prior_T)
    _calibrate(calibration, _deep_logits(model, embeddings, held_out, len(tasks)), labels(held_out, tasks))
    return TrainedRerank(model, calibration, embeddings, tasks, curve)


def train_rank(
    config: RankConfig,
    train: RankingSet,
    valid: RankingSet,
    teacher: TrainedRerank | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedRank:
    """The light ranker, on labels and on what `teacher` predicts for the same rows; `valid` is split as in `train_rerank`.

    Raises FitError as `fit` and `kept_tasks` do, and when the teacher predicts other tasks.
    """
    tasks = kept_tasks(train, config.min_positives)
    if teacher is not None and teacher.tasks != tasks:
        raise FitError(f"the teacher predicts {teacher.tasks}, this ranker {tasks}; train both on the same set")
    stopping, held_out = _halves(valid)
    train, calibration = _sampled(train, tasks, config.negative_share)
    with seeded(config.fit.seed):
        model = LightRanker(of_stage(FEATURES, Stage.RANK), len(tasks), input_kind=config.input)
    targets = _prepare(model, train, tasks, Stage.RANK)
    soft = _soft_targets(teacher, train, calibration) if teacher is not None else None
    batcher, probe = Batcher(train, Stage.RANK), _probe(stopping)

    def batch_loss(request_R: NDArray[np.int64]) -> Tensor:
        candidate_N, _ = batcher.candidates_of(request_R)
        logit_NT = model(batcher.dense(candidate_N))
        soft_NT = soft[candidate_N] if soft is not None else None
        return multi_task_loss(logit_NT, targets[candidate_N], soft_NT, config.soft_weight)

    def valid_loss() -> float:
        return _loss(calibration, _light_logits(model, probe, len(tasks)), labels(probe, tasks))

    curve = fit(
        model,
        batch_loss,
        valid_loss,
        n_requests=train.n_requests,
        n_rows=len(train),
        config=config.fit,
        progress=progress,
        checkpoint=checkpoint,
    )
    _calibrate(calibration, _light_logits(model, held_out, len(tasks)), labels(held_out, tasks))
    return TrainedRank(model, calibration, tasks, curve)


def predictions(
    trained: TrainedRank | TrainedRerank, rows: RankingSet, frozen: RankingSet | None = None
) -> Predictions:
    """What a trained ranker says of other impressions than those it was trained on, before and after calibration.

    `frozen` are the same impressions as serving would have asked for them at the window's start, for GAUC. Raises ValueError for
    others.
    """
    if frozen is not None and not rows.same_impressions(frozen):
        raise ValueError("GAUC needs the same impressions in the same order, whatever their histories")
    logit_NT = trained.logits(rows)
    before_NT = torch.sigmoid(torch.from_numpy(logit_NT)).numpy()
    after_NT = _calibrated(trained.calibration, logit_NT, rows.scratch)
    frozen_NT = None if frozen is None else trained.probabilities(frozen)
    return Predictions(trained.tasks, rows, before_NT, after_NT, frozen_NT)


def _light_logits(model: LightRanker, rows: CandidateRows, n_tasks: int) -> Float32:
    batcher = Batcher(rows, Stage.RANK)
    return batcher.outputs(lambda request_R: model(batcher.dense(batcher.candidates_of(request_R)[0])), n_tasks)


def _deep_logits(model: DeepRanker, embeddings: IdEmbeddings, rows: CandidateRows, n_tasks: int) -> Float32:
    batcher = Batcher(rows, Stage.RERANK)
    return batcher.outputs(lambda request_R: model(*batcher.deep_inputs(request_R, embeddings)[1]), n_tasks)


def _calibrated(calibration: Calibration, logit_NT: Float32, scratch: Scratch) -> Float32:
    probability_NT: Float32 = scratch.empty(logit_NT.shape, np.float32)
    with torch.inference_mode():
        for of in chunks(0, len(logit_NT), _CALIBRATION_ROWS):
            probability_NT[of] = calibration(torch.from_numpy(logit_NT[of])).numpy()
    return probability_NT


def _calibrate(calibration: Calibration, logit_NT: Float32, label_NT: Float32) -> None:
    """Finds the knots of every head on rows that nothing else has looked at."""
    corrected_NT = logit_NT + calibration.prior_T.numpy()
    calibration.set_knots([knots(x_N, label_N) for x_N, label_N in zip(corrected_NT.T, label_NT.T, strict=True)])


def _halves(valid: RankingSet) -> tuple[RankingSet, RankingSet]:
    """Every other request for early stopping, the others for calibration: both see the same hours of the day."""
    if len(valid) == 0:
        raise FitError("no validation rows; move the end of the training window back")
    stops_B = np.arange(valid.n_requests) % 2 == 0
    return valid.select(stops_B), valid.select(~stops_B)


def _sampled(train: RankingSet, tasks: tuple[str, ...], negative_share: float) -> tuple[RankingSet, Calibration]:
    """The rows to train on, and a calibration that knows only how they were sampled."""
    calibration = Calibration(len(tasks))
    if negative_share == 1:
        return train, calibration
    label_NT = labels(train, tasks)
    kept_N = kept_rows(label_NT, (train.time_ms_N, train.user_N, train.row_N), negative_share)
    calibration.correct_prior(prior_correction(label_NT, kept_N))
    return train.rows(kept_N), calibration


def _soft_targets(teacher: TrainedRerank, train: RankingSet, calibration: Calibration) -> Tensor:
    """The teacher's probabilities, moved to where sampling has moved the labels that they are mixed with, [N, T]."""
    soft_NT = torch.from_numpy(teacher.probabilities(train))
    for of in chunks(0, len(train), _CALIBRATION_ROWS):
        soft_NT[of] = torch.sigmoid(torch.logit(soft_NT[of]) - calibration.prior_T)
    return soft_NT


def _check_share(negative_share: float) -> None:
    if not 0 < negative_share <= 1:
        raise ValueError(f"negative_share lies in (0, 1], got {negative_share}")


def _prepare(model: LightRanker | DeepRanker, train: RankingSet, tasks: tuple[str, ...], stage: Stage) -> Tensor:
    """Fits the input scaling and the starting biases; returns the labels of `tasks` as a tensor [N, T]."""
    label_NT = labels(train, tasks)
    rate_T = np.clip(label_NT.mean(axis=0, dtype=np.float64), 1e-6, 1 - 1e-6)
    model.dense.fit(train.dense_NF, stage_columns(stage))
    model.start_at(torch.from_numpy(np.log(rate_T / (1 - rate_T))))
    return torch.from_numpy(label_NT)


def _scaled(model: DeepRanker, dense_NX: Float32) -> Tensor:
    """What the network and its regression read of the dense features."""
    with torch.no_grad():
        scaled_NI: Tensor = model.dense(torch.from_numpy(dense_NX[:, stage_columns(Stage.RERANK)]))
    return scaled_NI


def _probe(stopping: RankingSet) -> RankingSet:
    """Evenly spread requests, few enough to be looked at several times per epoch."""
    return stopping.select(slice(None, None, math.ceil(len(stopping) / _EVALUATION_ROWS)))


def _loss(calibration: Calibration, logit_NT: Float32, label_NT: Float32) -> float:
    """Log loss after the correction for sampling, as validation rows are not sampled."""
    return metrics.log_loss(label_NT.ravel(), _calibrated(calibration, logit_NT, Scratch()).ravel())
