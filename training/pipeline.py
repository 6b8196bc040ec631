"""From a data set to the files of a bundle: embeddings, item table, three models, metrics. Knows no service and no registry.

Candidates for the prerank student come from whoever calls: sourcing is a service's business, and training imports no service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles import layout
from features.item_features import save_items
from features.item_table import ItemTable
from features.schema import Stage
from training import distillation, export, funnel, rankers, student_choice
from training.checkpoints import Keeper, KeepNothing
from training.datasets import Dataset
from training.distillation import TrainedStudent
from training.errors import FitError
from training.funnel_log import LoggedSlates
from training.ig2vec import sessions
from training.ig2vec_quality import Ig2vecQuality, evaluate, main_topics
from training.log_times import moment
from training.preparation import Cuts, Preparation, RankingSets
from training.progress import Progress, Steps
from training.rankers import TrainedRank, TrainedRerank
from training.ranking_set import RankingSet
from training.recipes import Recipe
from training.slate_sourcing import Sourcing, sample_of_users, sourced_slates
from training.slates import Slates
from training.snapshots import ItemTables
from training.sourcing import write_sourcing
from training.stored_log import StoredLog
from training.two_tower import next_positive_recall, positives

Float32 = NDArray[np.float32]

HELD_OUT_EVERY = 5  # every fifth slate measures the funnel and teaches nothing
_PARITY_REQUESTS = 500
_FIRST_USERS = 64  # whose candidates are looked for before rankers are trained
_RECALL_EXAMPLES = 2_000


@dataclass(frozen=True)
class Trained:
    """What a run leaves besides the files: what the rankers predict, and how well. `metrics` is plain JSON, None for undefined."""

    tasks: tuple[str, ...]
    cuts: Cuts
    metrics: dict[str, Any]


def train(
    recipe: Recipe,
    dataset: Dataset | StoredLog,
    staged: Path,
    open_sourcing: Callable[[Path], Sourcing],
    steps: Steps,
    keep: Keeper | None = None,
    logged: LoggedSlates | None = None,
) -> Trained:
    """Writes every file of a bundle into `staged`. `open_sourcing` gets `staged` once its sourcing files are written.

    What `keep` holds of an earlier run is not made again: vectors, sourcing files, slates, and models up to the epoch that they
    had reached. Examples are: they take seconds. The result is the same, bit for bit, as that of a run that was never killed, as
    far as two runs give the same: threads build sourcing's graph over many vectors together (`training.sourcing.IndexConfig`).

    The student learns from `logged` requests where there are any, else from slates that are made here; either way the funnel is
    measured on made ones that taught nothing.

    Raises FitError when the log is too short for the recipe, ExportError when a graph differs from its network.
    """
    prepared = Preparation(recipe, dataset, steps, keep or KeepNothing())
    tables = prepared.item_tables(prepared.vectors())
    sets = prepared.ranking_sets(tables)
    run = Run(prepared)

    items = tables.as_of(dataset.as_of_ms)
    save_items(items, staged / layout.ITEMS)
    published = run.sourcing_files(items, staged)

    run.require_candidates(items, open_sourcing(staged))
    deep, light = run.rankers(sets, items)
    deep.embeddings.tables().save(staged / layout.RERANK_EMBEDDINGS)

    slates = run.slates(items, open_sourcing(staged))
    taught, measured = _split(slates)
    lesson = run.lesson(taught, deep) if logged is None else (logged.slates, logged.teacher_N)
    student, losses = run.student(*lesson, light)
    models = _Models(deep, light, student)

    parity = run.export(models, items, sets.valid.select(slice(_PARITY_REQUESTS)), staged)
    with steps.step("measuring on the test window"):
        metrics = _measure(models, items, sets, measured, recipe.value_weights["default"])
    metrics["candidates"] = {"median": float(np.median(np.diff(measured.offsets)))}
    metrics |= {"student_losses": losses, "parity": parity, **published, "two_tower": run.sourcing_recall(tables)}
    made = {"source": "generated", "requests": len(taught), "bundles": []}
    metrics["slates"] = made if logged is None else logged.about()
    metrics["ig2vec"] = asdict(run.account_quality(items))
    return Trained(deep.tasks, prepared.cuts, plain(metrics))


@dataclass(frozen=True)
class _Models:
    deep: TrainedRerank
    light: TrainedRank
    student: TrainedStudent


class Run:
    """What follows the preparation: sourcing files, models, graphs."""

    def __init__(self, prepared: Preparation) -> None:
        self.recipe, self.dataset = prepared.recipe, prepared.dataset
        self.steps, self.keep = prepared.steps, prepared.keep
        self.log, self.contexts, self.cuts = prepared.log, prepared.contexts, prepared.cuts

    def sourcing_files(self, items: ItemTable, staged: Path) -> dict[str, Any]:
        """Writes what sourcing reads into `staged`, and returns how good it is."""

        def write(root: Path) -> dict[str, Any]:
            until_ms, config = self.cuts.embedding_end_ms, self.recipe.sourcing
            quality = write_sourcing(
                items, self.log, self.dataset.users, root, self.steps, vectors_until_ms=until_ms, config=config
            )
            return plain(quality.metrics())

        return self.keep.files("sourcing files", staged, write)

    def sourcing_recall(self, tables: ItemTables) -> dict[str, float]:
        """How often the next positive is among the 500 media next to the user's vector, just after the vectors' window.

        So often it is among the 500 that were most popular when the window ended: neither knows what came later.
        """
        start_ms = self.cuts.embedding_end_ms
        items = tables.as_of(start_ms)
        until_ms = min(start_ms + self.recipe.windows.valid_ms, self.cuts.valid_start_ms)
        later = positives(self.log, self.contexts, items, start_ms=start_ms, end_ms=until_ms, cap=_RECALL_EXAMPLES)
        recall, popular = next_positive_recall(items.media_vector_MD, items, later)
        return {"recall_at_500": recall, "recall_at_500_popularity": popular, "examples": len(later)}

    def account_quality(self, items: ItemTable) -> Ig2vecQuality:
        """The account embeddings against shuffled sessions, and on the sessions between their window and early stopping."""
        end_ms, config = self.cuts.embedding_end_ms, self.recipe.ig2vec
        tokens = sessions(self.log, end_ms, config.session_gap_ms, config.max_tokens)
        later = sessions(self.log, self.cuts.valid_start_ms, config.session_gap_ms, start_ms=end_ms)
        with self.steps.step("account embeddings, evaluation") as report:
            vector_UE, topic_U = items.account_vector_UE, main_topics(items)
            return evaluate(vector_UE, topic_U, tokens=tokens, later=later, config=config, progress=report)

    def rankers(self, sets: RankingSets, items: ItemTable) -> tuple[TrainedRerank, TrainedRank]:
        """The deep ranker, and the light one that also learns from it."""
        with self.steps.step("deep ranker (rerank)") as report:
            kept = self.keep.checkpoint("deep ranker")
            deep = rankers.train_rerank(self.recipe.rerank, sets.train, sets.valid, items, report, kept)
        with self.steps.step("light ranker (rank)") as report:
            kept = self.keep.checkpoint("light ranker")
            return deep, rankers.train_rank(self.recipe.rank, sets.train, sets.valid, deep, report, kept)

    def slates(self, items: ItemTable, sourcing: Sourcing) -> Slates:
        """Candidates of a sample of users at the end of the log, with the features that serving would compute then."""
        with self.steps.step("candidate slates") as report:
            made = self.keep.arrays(
                "candidate slates", lambda: self._sourced(items, sourcing, report, self._users()).columns()
            )
        return Slates(**made)

    def require_candidates(self, items: ItemTable, sourcing: Sourcing) -> None:
        """Raises FitError, before hours go into rankers, when sourcing finds nothing for any of the first users of the slates."""
        with self.steps.step("first candidates") as report:
            found = self._sourced(items, sourcing, report, self._users()[:_FIRST_USERS])
        if len(found.row_N) == 0:
            raise FitError(
                f"sourcing finds no candidates at the end of the log, {moment(self.dataset.as_of_ms)}, for any of {len(found)} "
                "users: is created_at of all media later, do their scores or policy_flags keep them out, or does the query file "
                "ask for other media?"
            )

    def _users(self) -> NDArray[np.int64]:
        return sample_of_users(self.log, self.recipe.n_slates, self.recipe.student.fit.seed)

    def _sourced(self, items: ItemTable, sourcing: Sourcing, report: Progress, users: NDArray[np.int64]) -> Slates:
        time_ms, size = self.dataset.as_of_ms, self.recipe.slate_size
        return sourced_slates(self.contexts, items, sourcing, users, time_ms=time_ms, size=size, progress=report)

    def lesson(self, slates: Slates, deep: TrainedRerank) -> tuple[Slates, Float32]:
        """What the student is taught: slates, and the deep ranker's value of every candidate."""
        weights = self.recipe.value_weights["default"]

        def score() -> dict[str, Float32]:
            return {"teacher_N": distillation.teacher_scores(deep, slates, weights)}

        with self.steps.step("what the deep ranker thinks of them"):
            return slates, self.keep.arrays("teacher scores", score)["teacher_N"]

    def student(self, slates: Slates, teacher_N: Float32, light: TrainedRank) -> tuple[TrainedStudent, dict[str, Any]]:
        """The prerank student of the teacher's order over whole slates, and how its loss was chosen."""
        config, weights = self.recipe.student, self.recipe.value_weights["default"]
        if config.compare_losses:
            rank = partial(distillation.teacher_scores, light, value_weights=weights)
            choice = student_choice.choose_student(config, slates, teacher_N, rank, self.steps, self.keep)
            return choice.student, choice.metrics()
        with self.steps.step("student (prerank)") as report:
            kept = self.keep.checkpoint("student")
            student = distillation.train_student(config, slates, teacher_N, report, kept)
        return student, student_choice.not_compared(config.loss)

    def export(self, models: _Models, items: ItemTable, sample: RankingSet, staged: Path) -> dict[str, float]:
        """The three graphs, and the largest difference of each to its network on `sample`."""
        paths = {stage: staged / layout.model(stage) for stage in Stage}
        with self.steps.step("export to ONNX, parity check"):
            return {
                Stage.PRERANK: export.export_prerank(models.student.model, sample, paths[Stage.PRERANK]),
                Stage.RANK: export.export_rank(models.light, sample, paths[Stage.RANK]),
                Stage.RERANK: export.export_rerank(models.deep, items, sample, paths[Stage.RERANK]),
            }


def _split(slates: Slates) -> tuple[Slates, Slates]:
    """Slates to teach with, and slates to measure with."""
    held_out_B = np.arange(len(slates)) % HELD_OUT_EVERY == 0
    return slates.select(~held_out_B), slates.select(held_out_B)


def _measure(
    models: _Models, items: ItemTable, sets: RankingSets, slates: Slates, weights: Mapping[str, float]
) -> dict[str, Any]:
    """Rankers on the test window, and the funnel on slates that taught nothing."""
    deep_N = distillation.teacher_scores(models.deep, slates, weights)
    light_N = distillation.teacher_scores(models.light, slates, weights)
    student_N, popular_N = models.student.scores(slates), distillation.popularity_scores(slates)
    ranked: dict[str, TrainedRank | TrainedRerank] = {"rerank": models.deep, "rank": models.light}
    predicted = {stage: rankers.predictions(trained, sets.test, sets.frozen) for stage, trained in ranked.items()}
    curves = {"rerank": models.deep.curve, "rank": models.light.curve, "prerank": models.student.curve}
    return {
        **{stage: _of_tasks(made.metrics()) for stage, made in predicted.items()},
        "calibration": {stage: _of_tasks(made.calibration()) for stage, made in predicted.items()},
        "funnel": asdict(funnel.measure_funnel(slates, student_N, light_N, deep_N)),
        "funnel_popularity_prerank": asdict(funnel.measure_funnel(slates, popular_N, light_N, deep_N)),
        "curves": {stage: [asdict(point) for point in curve] for stage, curve in curves.items()},
        "examples": {
            "train": len(sets.train),
            "valid": len(sets.valid),
            "test": len(sets.test),
            "actions_without_impression": sets.orphans,
        },
    }


def _of_tasks(found: Mapping[str, Any]) -> dict[str, Any]:
    return {task: asdict(of_task) for task, of_task in found.items()}


def plain(value: Any) -> Any:
    """Metrics as JSON takes them: numpy scalars become numbers, NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
