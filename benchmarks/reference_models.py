"""The graphs of the reference job: the default recipe's networks, seeded and untrained, exported by training's own code.

Inputs are fitted and heads calibrated on rows of the world, as training does it on a log. The last layers are scaled until the
logits spread as those of trained networks do: scores that lie too close would make pages a matter of rounding.

Shapes: N candidates, B requests, F features, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.reference_world import People
from benchmarks.sourcing_world import NOW_MS
from bundles import layout
from cli.progress import Steps
from features.actions import TASKS
from features.assemble import assemble, candidate_view
from features.context import concatenate
from features.dense import FEATURES
from features.history import join_history
from features.item_table import ItemTable
from features.related import related_actions
from features.schema import Stage, of_stage
from training.calibration import knots
from training.columns import Scratch
from training.export import export_prerank, export_rank, export_rerank
from training.fit import seeded
from training.models.calibration import Calibration
from training.models.candidate_rows import Batcher, stage_columns
from training.models.deep import DeepRanker
from training.models.id_embeddings import IdEmbeddings
from training.models.light import LightRanker
from training.models.student import PrerankStudent
from training.rankers import TrainedRank, TrainedRerank
from training.recipes import Recipe

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

_SEED = 7
_USERS, _CANDIDATES = 64, 64  # of the rows that inputs and calibration are fitted on
_SPREAD = 1.2  # standard deviation of a head's logits
_BASE_RATES = {"click": 0.3, "long_view": 0.15, "like": 0.08, "negative": 0.01}
_OTHER_RATE = 0.02


@dataclass(frozen=True)
class FittingRows:
    """A `CandidateRows`: random candidates of some users, every feature assembled as serving does."""

    dense_NF: Float32
    row_N: Int64
    request_N: Int64
    history_row_BL: NDArray[np.int32]
    history_action_BL: NDArray[np.uint8]
    history_age_ms_BL: Int64
    related_row_NS: NDArray[np.int32]
    related_action_NS: NDArray[np.uint8]
    related_age_hours_NS: Float32
    scratch: Scratch = field(default_factory=Scratch)


def write_models(recipe: Recipe, people: People, directory: Path, steps: Steps) -> tuple[str, ...]:
    """Writes the three graphs and the embedding tables; returns the tasks they predict."""
    tasks = tuple(task.name for task in TASKS)
    with steps.step("graphs"):
        rows = _rows(people)
        with seeded(_SEED):
            student = PrerankStudent(of_stage(FEATURES, Stage.PRERANK))
        student.dense.fit(rows.dense_NF, stage_columns(Stage.PRERANK))
        light = _light(recipe, rows, tasks)
        deep = _deep(recipe, rows, people.items, tasks)
        deep.embeddings.tables().save(directory / layout.RERANK_EMBEDDINGS)
        export_prerank(student.eval(), rows, directory / layout.model(Stage.PRERANK))
        export_rank(light, rows, directory / layout.model(Stage.RANK))
        export_rerank(deep, people.items, rows, directory / layout.model(Stage.RERANK))
    return tasks


def _rows(people: People) -> FittingRows:
    users = range(min(_USERS, people.users))
    contexts = concatenate(
        [people.state(number).context(f"user-{number}", NOW_MS + number, "explore") for number in users]
    )
    draw = np.random.default_rng(_SEED)
    request_N = np.repeat(np.arange(len(users)), _CANDIDATES)
    row_N = draw.integers(0, len(people.items.media_id_M), len(request_N))
    view = candidate_view(contexts, people.items, row_N, request_N)
    history, related = join_history(contexts, people.items), related_actions(contexts, people.items, row_N, request_N)
    return FittingRows(
        dense_NF=assemble(view, FEATURES),
        row_N=row_N,
        request_N=request_N,
        history_row_BL=history.row_BL.astype(np.int32),
        history_action_BL=history.action_BL,
        history_age_ms_BL=history.age_ms_BL,
        related_row_NS=related.row_NS,
        related_action_NS=related.action_NS,
        related_age_hours_NS=related.age_hours_NS,
    )


def _light(recipe: Recipe, rows: FittingRows, tasks: tuple[str, ...]) -> TrainedRank:
    with seeded(_SEED):
        model = LightRanker(of_stage(FEATURES, Stage.RANK), len(tasks), input_kind=recipe.rank.input)
    model.dense.fit(rows.dense_NF, stage_columns(Stage.RANK))
    batcher = Batcher(rows, Stage.RANK)

    def logits() -> Tensor:
        with torch.inference_mode():
            return model.eval()(batcher.dense(torch.arange(len(rows.row_N))))

    _spread([model.heads.weight], logits)
    _start_at_rates(model, logits, tasks)
    return TrainedRank(model, _calibrated(logits()), tasks, ())


def _deep(recipe: Recipe, rows: FittingRows, items: ItemTable, tasks: tuple[str, ...]) -> TrainedRerank:
    config = recipe.rerank
    with seeded(_SEED):
        # Impressions stand for occurrences in a log: rare media share one vector, as in training.
        embeddings = IdEmbeddings(items, items.counts_MA[:, 1].astype(np.int64), config.embeddings)
        features = of_stage(FEATURES, Stage.RERANK)
        model = DeepRanker(features, config.embeddings.width, len(tasks), config.input, config.architecture)
    model.dense.fit(rows.dense_NF, stage_columns(Stage.RERANK))
    batcher = Batcher(rows, Stage.RERANK)

    def logits() -> Tensor:
        with torch.inference_mode():
            outputs = [
                model.eval()(*batcher.deep_inputs(part, embeddings.eval())[1]) for part in batcher.all_requests()
            ]
            return torch.cat(outputs)

    _spread(
        [parameter for name, parameter in model.mixture.towers.named_parameters() if name.endswith("2.weight")], logits
    )
    _start_at_rates(model, logits, tasks)
    return TrainedRerank(model, _calibrated(logits()), embeddings, tasks, ())


def _spread(weights: Sequence[Tensor], logits: Callable[[], Tensor]) -> None:
    """Scales the last layer so that its logits differ as much as those of a trained network."""
    factor = _SPREAD / logits().std(dim=0).mean()
    with torch.no_grad():
        for weight in weights:
            weight.mul_(factor)


def _start_at_rates(model: LightRanker | DeepRanker, logits: Callable[[], Tensor], tasks: tuple[str, ...]) -> None:
    model.start_at(torch.zeros(len(tasks)))
    rate_T = torch.tensor([_BASE_RATES.get(task, _OTHER_RATE) for task in tasks])
    model.start_at(torch.logit(rate_T) - logits().mean(dim=0))


def _calibrated(logit_NT: Tensor) -> Calibration:
    """Knots as training finds them, on labels drawn from probabilities that the logits overstate."""
    draw, calibration = np.random.default_rng(_SEED), Calibration(logit_NT.shape[1])
    label_NT = draw.random(logit_NT.shape) < torch.sigmoid(0.8 * logit_NT - 0.2).numpy()
    calibration.set_knots([knots(x_N, label_N) for x_N, label_N in zip(logit_NT.T.numpy(), label_NT.T, strict=True)])
    return calibration
