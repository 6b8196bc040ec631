"""`explore train`: from the data set in use to a published bundle, and the table of what the models are worth."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bundles.errors import UnsupportedFormat
from bundles.manifest import Manifest
from cli.console import wide_console
from cli.errors import CommandError
from cli.limits import MAX_GB, MAX_SEED
from cli.progress import steps
from cli.workspace import Workspace

if TYPE_CHECKING:
    from bundles.store import BundleStore
    from training.columns import Scratch
    from training.pipeline import Trained
    from training.recipes import Recipe

_GB = 1e9
_LIBRARIES = ("faiss-cpu", "numpy", "onnx", "onnxruntime", "polars", "torch")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(train)


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Option(help="Name of a recipe in training/recipes.py.")] = "default",
    data: Annotated[Path | None, typer.Option(help="Data set directory, anywhere; the one in use if left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="Other random numbers in every step.", min=0, max=MAX_SEED)] = None,
    activate: Annotated[bool, typer.Option(help="Make the bundle the one that serves.")] = True,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, even if an earlier run can be resumed.")] = False,
    funnel_log: Annotated[
        Path | None, typer.Option(help="Teach the prerank student with what serving logged here, such as HOME/funnel.")
    ] = None,
    compare_losses: Annotated[
        bool, typer.Option("--compare-losses", help="Train a prerank student per loss and keep the best.")
    ] = False,
    memory: Annotated[
        float | None,
        typer.Option(metavar="GB", min=0, max=MAX_GB, help="Columns to keep in memory; a quarter of it if left out."),
    ] = None,
) -> None:
    """Train every stage on the data set in use and publish a bundle.

    A run that was killed is resumed by the same command, at the last epoch that it finished, and ends as if nothing had happened:
    with the same weights and metrics, but for what sourcing's graph changes in the student from 50,000 media on. The same command
    means the same recipe, seed, data, query file, eligibility settings (EXPLORE_MAX_MEDIA_AGE_HOURS and so on), funnel log and
    software; after a change of any of them training starts over. What a run keeps for that lies in HOME/training and goes when its
    bundle is published; what unfinished runs left there goes after a week.

    A log may be larger than memory: columns that do not fit --memory lie in files below HOME/training while the command runs.
    That changes nothing in the bundle.
    """
    workspace: Workspace = context.obj
    train_bundle(
        workspace,
        data or workspace.current_dataset(),
        recipe,
        seed,
        activate,
        fresh,
        funnel_log=funnel_log,
        compare_losses=compare_losses,
        memory_budget=None if memory is None else int(memory * _GB),
    )


def train_bundle(
    workspace: Workspace,
    data: Path,
    recipe_name: str,
    seed: int | None,
    activate: bool,
    fresh: bool = False,
    *,
    funnel_log: Path | None = None,
    compare_losses: bool = False,
    memory_budget: int | None = None,
) -> Manifest:
    """Trains, publishes and, if asked, activates. Nothing is published when it is interrupted; the next call resumes it.

    `memory_budget`: bytes of columns to keep in memory.
    """
    from cli.sourcing import candidates_depend_on, open_sourcing
    from cli.sourcing_settings import sourcing_config
    from training import pipeline
    from training.checkpoints import open_run
    from training.columns import Scratch
    from training.funnel_log import read_funnel_log
    from training.memory import default_budget
    from training.recipes import RECIPES
    from training.run_key import run_key
    from training.stored_log import read_log

    if recipe_name not in RECIPES:
        raise CommandError(f"there is no recipe {recipe_name!r}", f"recipes: {', '.join(RECIPES)}")
    recipe = RECIPES[recipe_name]() if seed is None else RECIPES[recipe_name]().seeded(seed)
    recipe = recipe.comparing_losses() if compare_losses else recipe
    store, sourcing, name = workspace.bundles(), sourcing_config(workspace.query_file()), workspace.dataset_name(data)
    with ExitStack() as stack:
        progress = stack.enter_context(steps())
        scratch = Scratch(workspace.training, default_budget() if memory_budget is None else memory_budget)
        with progress.step("reading and checking the data set") as report:
            dataset = read_log(data, scratch, report)
        progress.warn(dataset.warnings)
        if workspace.register(data):
            progress.say(
                f"data set {name!r} of this workspace is now {data.resolve()}: {workspace.dataset(name)} links to it"
            )
        weights, logged = recipe.value_weights["default"], None
        if funnel_log is not None:
            with progress.step("reading and checking the funnel log"):
                logged = read_funnel_log(funnel_log, dataset.as_of_ms, weights, recipe.n_slates)
        key = run_key(recipe, dataset, candidates_depend_on(sourcing), *([logged.digest] if logged else []))
        run = stack.enter_context(open_run(workspace.training, key, progress.say, fresh))
        staged = stack.enter_context(store.stage())
        opened = partial(open_sourcing, config=sourcing)
        trained = pipeline.train(recipe, dataset, staged, opened, progress, run, logged)
        with progress.step("publishing the bundle"):
            manifest = _publish(store, staged, name, trained, recipe)
    console = wide_console()
    console.print(metrics_tables(manifest))
    # Printed only: what is in a bundle does not depend on the machine that made it.
    console.print(cost_line(progress.seconds, scratch), highlight=False)
    active = activate and _activate(workspace, manifest, console)
    console.print(f"bundle {manifest.version} {'is active' if active else 'is published, not active'}")
    return manifest


def _activate(workspace: Workspace, manifest: Manifest, console: Console) -> bool:
    """Makes the bundle the one that serves, unless a stack runs whose users it does not know."""
    from cli.bundle_switch import other_data
    from cli.stack import RunningStack

    if served := other_data(RunningStack.find(workspace.run), manifest):
        advice = f"`explore down`, then `explore activate {manifest.version}`"
        console.print(f"the running stack serves data set {served!r}: {advice}", highlight=False)
        return False
    workspace.bundles().activate(manifest.version)
    return True


def _publish(store: BundleStore, staged: Path, dataset: str, trained: Trained, recipe: Recipe) -> Manifest:
    from features.dense import FINGERPRINT

    return store.publish(
        staged,
        parent=store.current_version(),
        dataset=dataset,
        as_of_ms=trained.cuts.end_ms,
        training_window_start_ms=trained.cuts.start_ms,
        training_window_end_ms=trained.cuts.valid_start_ms,
        schema_fingerprint=FINGERPRINT,
        tasks=trained.tasks,
        value_weights=_of_tasks(recipe.value_weights, trained.tasks),
        metrics=trained.metrics,
        library_versions={library: metadata.version(library) for library in _LIBRARIES},
        command=shlex.join(["explore", *sys.argv[1:]]),
    )


def is_trained(workspace: Workspace) -> bool:
    """Whether the active bundle was trained on the data set in use, as it is now, with the features of this release."""
    from features.dense import FINGERPRINT
    from training.datasets import load

    version = workspace.bundles().current_version()
    if version is None:
        return False
    try:
        manifest = workspace.bundles().manifest(version)
    except UnsupportedFormat:  # of another release, which this one cannot serve
        return False
    data = workspace.current_dataset()
    same_data = manifest.dataset == data.name and manifest.as_of_ms == load(data).as_of_ms
    return same_data and manifest.schema_fingerprint == FINGERPRINT


def metrics_tables(manifest: Manifest) -> Group:
    """Rankers per task on the test window, and what the funnel keeps."""
    metrics: dict[str, Any] = manifest.metrics
    ranked = Table(
        title=f"Test window of {manifest.dataset!r}, {metrics['examples']['test']:,} impressions",
        box=box.SIMPLE_HEAD,
        padding=0,  # with the space between columns, it fits into 80 characters
    )
    for name in (
        "task",
        "posi-\ntives",
        "base\nrate",
        "rerank\nAUC",
        "rerank\nGAUC",
        "log\nloss",
        "ECE\nbefore →",
        "\nafter",
        "rank\nAUC",
        "rank\nGAUC",
    ):
        ranked.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
    for task in manifest.tasks:
        deep, light = metrics["rerank"][task], metrics["rank"][task]
        # A bundle of an earlier release says nothing of the ECE before calibration, and may have no test impressions at all.
        figures = (
            deep["base_rate"],
            deep["auc"],
            deep["gauc"],
            deep["log_loss"],
            deep.get("ece_before"),
            deep["ece"],
            light["auc"],
            light["gauc"],
        )
        ranked.add_row(task, f"{deep['n_positives']:,}", *(_figure(f) for f in figures))
    kept = Table(
        title=f"Funnel over {metrics['funnel']['n_slates']} users' candidates (mean, 95 % interval)",
        box=box.SIMPLE_HEAD,
    )
    for name in ("measure", "distilled prerank", "prerank by popularity"):
        kept.add_column(name, justify="left" if name == "measure" else "right")
    for key, label in (
        ("recall_page", "best 25 among the 150 kept"),
        ("recall_rank", "best 50 among the 150 kept"),
        ("ndcg", "NDCG@150"),
        ("funnel_value", "value of the page / best possible"),
    ):
        kept.add_row(label, _interval(metrics["funnel"][key]), _interval(metrics["funnel_popularity_prerank"][key]))
    orphans = metrics["examples"]["actions_without_impression"]
    lost = (
        [Text(f"{orphans:,} actions have no impression that explains them: they train nothing", "yellow")]
        if orphans
        else []
    )
    return Group(ranked, kept, *_few_candidates(metrics), *_loss_lines(metrics.get("student_losses")), *lost)


def _few_candidates(metrics: Mapping[str, Any]) -> list[Text]:
    """That there was next to nothing to choose from, if so. A bundle of an earlier release does not say."""
    from training.funnel import FunnelSizes

    kept = FunnelSizes().prerank
    median = metrics["candidates"]["median"] if "candidates" in metrics else math.inf
    if median > kept:
        return []
    few = (
        f"half of these users have {median:.0f} candidates or fewer, and prerank keeps {kept}: the funnel above had "
        "nothing to decide. Do created_at, scores and policy_flags let media through?"
    )
    return [Text(few, "yellow")]


def _loss_lines(losses: dict[str, Any] | None) -> list[Text]:
    """Which loss the student learned from. A bundle of an earlier release does not say."""
    if losses is None:
        return []
    chosen, table = losses["chosen"], losses["table"]
    if not table:
        return [Text(f"prerank learned from {chosen}, which the recipe names; --compare-losses tries them all")]
    recall = _interval(table[chosen]["recall_page"])
    return [Text(f"prerank learned from {chosen}, the best of {len(table)} losses: it keeps {recall} of the best 25")]


def cost_line(seconds: Mapping[str, float], scratch: Scratch) -> str:
    """Memory at its peak, and the time that every step took."""
    from training.memory import peak_memory

    steps = ", ".join(f"{name} {taken:.0f} s" for name, taken in seconds.items() if taken >= 1)
    columns = f"columns: {scratch.in_memory / _GB:.1f} GB in memory, {scratch.in_files / _GB:.1f} GB in files"
    return f"peak memory {peak_memory() / _GB:.1f} GB ({columns}); {sum(seconds.values()):.0f} s in all: {steps}"


def _of_tasks(tables: Any, tasks: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """The weight tables without tasks that this data set has too little of to predict."""
    return {name: {task: float(table[task]) for task in tasks if task in table} for name, table in tables.items()}


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(interval: dict[str, float | None]) -> str:
    if interval["mean"] is None:
        return "-"
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
