"""What `explore train` says of the student's loss and of its own cost, and when it leaves the bundle that serves alone."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from bundles.store import BundleStore
from cli import processes
from cli.commands.train import _activate, _few_candidates, _loss_lines, cost_line, metrics_tables, train_bundle
from cli.errors import CommandError
from cli.processes import Process
from cli.stack import Ports, RunningStack
from cli.workspace import Workspace
from tests.bundles.conftest import fields
from tests.training.logs import planted
from training.columns import Scratch
from training.datasets import write
from training.distillation import ListLoss
from training.errors import DatasetError, FitError
from training.recipes import RECIPES

INTERVAL = {"mean": 0.991, "low": 0.982, "high": 0.997}


def test_the_chosen_loss_is_named_with_what_it_keeps() -> None:
    (line,) = _loss_lines({"chosen": "pselect", "table": {"list_mle": {}, "pselect": {"recall_page": INTERVAL}}})
    assert line.plain == (
        "prerank learned from pselect, the best of 2 losses: it keeps 0.991 [0.982, 0.997] of the best 25"
    )


def test_a_funnel_that_had_nothing_to_decide_says_so() -> None:
    (line,) = _few_candidates({"candidates": {"median": 3.0}})
    assert line.plain.startswith("half of these users have 3 candidates or fewer, and prerank keeps 150:")
    assert _few_candidates({"candidates": {"median": 500.0}}) == []
    assert _few_candidates({}) == []  # of an earlier release


def test_a_fixed_loss_is_named_and_an_earlier_release_says_nothing() -> None:
    (line,) = _loss_lines({"chosen": "list_mle", "table": {}})
    assert "learned from list_mle, which the recipe names" in line.plain
    assert _loss_lines(None) == []


@pytest.fixture(name="brought")
def _brought(tmp_path: Path) -> Path:
    """A data set outside the workspace, as a team brings it: three Parquet files and nothing else."""
    root = write(planted(users=6), tmp_path / "srv" / "mylog").root
    assert root is not None
    (root / "dataset.json").unlink()
    return root


@pytest.fixture(name="read_only")
def _read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends once it has read its data."""

    def train(*arguments: object) -> None:
        raise FitError("read")

    monkeypatch.setattr("training.pipeline.train", train)


@pytest.mark.usefixtures("read_only")
def test_what_was_left_out_of_the_data_is_said(
    brought: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = brought / "media.parquet"
    media = pl.read_parquet(file).drop("non_recommendable_score")
    media.with_columns(non_recommendable=pl.lit(0.9)).write_parquet(file)
    with pytest.raises(FitError, match="read"):
        train_bundle(Workspace(tmp_path / "home"), brought, "tiny", None, activate=True)
    said = capsys.readouterr().err
    assert f"warning: {file}: column non_recommendable is not in the contract and was left out" in said
    assert "warning: dataset.json is missing" in said


@pytest.mark.usefixtures("read_only")
def test_a_data_set_from_elsewhere_is_registered_under_its_name(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path / "home")
    monkeypatch.chdir(brought)
    with pytest.raises(FitError, match="read"):
        train_bundle(workspace, Path(), "tiny", None, activate=True)
    assert workspace.held_dataset("mylog").resolve() == brought
    assert f"data set 'mylog' of this workspace is now {brought}" in capsys.readouterr().err
    workspace.dataset("mylog").unlink()
    workspace.dataset("mylog").mkdir()
    with pytest.raises(CommandError, match="is another one here"):
        train_bundle(workspace, brought, "tiny", None, activate=True)


def test_candidates_obey_the_environment_and_a_run_under_other_rules_is_another_one(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int | None, str]] = []

    def train(*arguments: Any) -> None:
        opened, run = arguments[3], arguments[5]
        made.append((opened.keywords["config"].max_media_age_hours, run.root.name))
        raise FitError("sourced")

    monkeypatch.setattr("training.pipeline.train", train)
    for hours in (None, "48"):
        if hours is not None:
            monkeypatch.setenv("EXPLORE_MAX_MEDIA_AGE_HOURS", hours)
        with pytest.raises(FitError, match="sourced"):
            train_bundle(Workspace(tmp_path / "home"), brought, "tiny", None, activate=True)
    assert [hours for hours, _ in made] == [None, 48]
    assert len({key for _, key in made}) == 2


@pytest.mark.usefixtures("read_only")
def test_a_directory_that_is_no_data_set_is_not_registered(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such directory"):
        train_bundle(Workspace(tmp_path), tmp_path / "gone", "tiny", None, activate=True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", list(RECIPES))
def test_comparing_losses_changes_nothing_else_of_a_recipe(name: str) -> None:
    recipe = RECIPES[name]()
    compared = recipe.comparing_losses()
    assert recipe.student.compare_losses == ()
    assert compared.student.compare_losses == tuple(ListLoss)
    assert (compared.rank, compared.rerank, compared.n_slates) == (recipe.rank, recipe.rerank, recipe.n_slates)


def test_the_cost_names_memory_and_the_steps_that_took_a_second(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, budget=400_000_000)
    scratch.empty((300_000_000,), np.uint8)
    scratch.empty((250_000_000,), np.uint8)
    line = cost_line({"reading": 12.4, "labels": 0.2, "deep ranker": 100.0}, scratch)
    assert line.startswith("peak memory ")
    assert line.endswith("(columns: 0.3 GB in memory, 0.2 GB in files); 113 s in all: reading 12 s, deep ranker 100 s")


def tables_of(workspace: Path, judged: dict[str, float | None], impressions: int) -> str:
    """What is printed of a bundle with one task, on a terminal of 80 characters."""
    funnel = dict.fromkeys(("recall_page", "recall_rank", "ndcg", "funnel_value"), INTERVAL) | {"n_slates": 200}
    stages = {stage: {"long_view": judged} for stage in ("rank", "rerank")}
    examples = {"test": impressions, "actions_without_impression": 0}
    published = fields()
    published["tasks"], published["value_weights"] = ("long_view",), {"default": {"long_view": 1.0}}
    measured = {**stages, "funnel": funnel, "funnel_popularity_prerank": funnel, "examples": examples}
    published["metrics"] = json.loads(json.dumps(measured))
    store, said = BundleStore(workspace), io.StringIO()
    with store.stage() as staged:
        (staged / "table").write_text("one")
        manifest = store.publish(staged, **published)
    Console(file=said, width=80).print(metrics_tables(manifest))
    return said.getvalue()


def test_the_tables_are_whole_on_a_terminal_of_80_characters(tmp_path: Path) -> None:
    judged: dict[str, float | None] = {"n_positives": 1_234_567, "base_rate": 0.2067}
    judged |= {"auc": 0.7533, "gauc": 0.7348, "log_loss": 0.4388, "ece_before": 0.0052, "ece": 0.0033}
    said = tables_of(tmp_path, judged, 136_777)
    (row,) = (line.split() for line in said.splitlines() if "1,234,567" in line)
    assert row == [
        "long_view",
        "1,234,567",
        "0.2067",
        "0.7533",
        "0.7348",
        "0.4388",
        "0.0052",
        "0.0033",
        "0.7533",
        "0.7348",
    ]
    assert "…" not in said


def test_figures_of_an_empty_test_window_are_left_open(tmp_path: Path) -> None:
    """Also of a bundle that an earlier release published, which `explore report` shows."""
    nothing = dict.fromkeys(("base_rate", "auc", "gauc", "log_loss", "ece_before", "ece"), None)
    (row,) = (
        line.split() for line in tables_of(tmp_path, {"n_positives": 0} | nothing, 0).splitlines() if "long_v" in line
    )
    assert row == ["long_view", "0", *["-"] * 8]


@pytest.mark.parametrize(("running", "activates"), [("synthetic", True), ("simulated", False), (None, True)])
def test_a_bundle_of_other_data_leaves_a_running_stack_alone(
    running: str | None, activates: bool, tmp_path: Path
) -> None:
    workspace, told = Workspace(tmp_path), io.StringIO()
    store = workspace.bundles()
    with store.stage() as staged:
        (staged / "table").write_text("one")
        manifest = store.publish(staged, **fields())
    if running is not None:
        workspace.run.mkdir()
        here = Process("gateway", os.getpid(), processes._start_time(os.getpid()) or 0, "log")
        RunningStack(Ports(), (here,), running).save(workspace.run)
    assert _activate(workspace, manifest, Console(file=told, soft_wrap=True)) == activates
    assert store.current_version() == (manifest.version if activates else None)
    assert (told.getvalue() == "") == activates
    assert activates or f"explore activate {manifest.version}" in told.getvalue()
