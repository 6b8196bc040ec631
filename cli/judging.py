"""Judges published bundles on a data set for `explore eval` and `explore report`: finds both, and lends them the sourcing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from cli.progress import Steps
from cli.sourcing import open_sourcing
from cli.sourcing_settings import sourcing_config
from cli.workspace import Workspace
from features.dense import FINGERPRINT
from training.bundle_evaluation import JudgedLog, Judgement, OpenedBundle, Window, judge_bundle
from training.datasets import load
from training.pipeline import plain

LETTERS = ("A", "B")


def judge_bundles(
    workspace: Workspace, names: Sequence[str], data: Path, hours: float, users: int, steps: Steps
) -> tuple[dict[str, Any], list[Judgement]]:
    """The figures of one or two bundles as plain JSON, and what they were made of. The same rows and draws of users for both.

    Raises BundleError, TrainingError or IgqlError saying which bundle cannot be judged on this data set, and why.
    """
    store = workspace.bundles()
    versions = [store.find(name) for name in names]
    manifests = [store.manifest(version) for version in versions]
    with steps.step("reading and checking the data set"):
        log = JudgedLog(load(data))
    steps.warn(log.dataset.warnings)
    window = log.window(hours)
    for manifest in manifests:  # before minutes are spent on the other one
        window.check(manifest)
    with steps.step("opening bundles"):
        opened = [OpenedBundle.open(store.open(version, FINGERPRINT)) for version in versions]
    judgements = [judge_one(workspace, each, log, window, users, steps) for each in opened]
    figures = {
        "dataset": data.absolute().name,
        "window": {"start_ms": window.start_ms, "end_ms": window.end_ms},
        **judgements[0].about(),
        "bundles": {letter: one.figures() for letter, one in zip(LETTERS, judgements, strict=False)},
    }
    if len(judgements) > 1:
        first, second = judgements
        _check_comparable(first, second)
        figures["differences"] = first.minus(second)
    return plain(figures), judgements


def judge_one(
    workspace: Workspace, opened: OpenedBundle, log: JudgedLog, window: Window, users: int, steps: Steps
) -> Judgement:
    """One bundle, its candidates sourced by the workspace's query under the environment's rules."""
    sourcing = open_sourcing(opened.bundle.path, sourcing_config(workspace.query_file()))
    return judge_bundle(opened, log, window, sourcing, users, steps)


def _check_comparable(first: Judgement, second: Judgement) -> None:
    if not set(first.opened.tasks) & set(second.opened.tasks):
        raise CommandError(
            f"bundle {first.opened.version} predicts {', '.join(first.opened.tasks)}, bundle {second.opened.version} "
            f"{', '.join(second.opened.tasks)}: there is nothing to compare",
            "`explore eval --bundle` judges each alone",
        )
