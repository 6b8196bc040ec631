"""`explore eval --bundle A --against B`: what it prints, what it gives to programs, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from bundles.errors import BundleMissing, SchemaMismatch
from cli.judging import judge_bundles
from cli.judging_tables import ahead, text
from cli.main import build
from cli.progress import steps
from cli.workspace import Workspace
from tests.variants import variant, without_ids
from training.errors import EvaluationError


def explore(workspace: Workspace, *arguments: str) -> str:
    """What it printed. Errors come out as they are."""
    done = CliRunner().invoke(build(), ["--home", str(workspace.home), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_bundles_are_judged_on_the_same_impressions(trained: Workspace) -> None:
    store = trained.bundles()
    active = store.find("active")
    other = variant(store, active, without_ids).version
    figures = json.loads(
        explore(trained, "eval", "--bundle", "active", "--against", other[-12:], "--users", "10", "--json")
    )
    first, second = figures["bundles"]["A"], figures["bundles"]["B"]
    assert (first["bundle"], second["bundle"], figures["dataset"]) == (active, other, "simulated")
    assert figures["window"]["end_ms"] - figures["window"]["start_ms"] == 24 * 3_600_000
    lead = figures["differences"]["stages"]["rerank"]["click"]["ndcg"]
    levels = [one["stages"]["rerank"]["click"]["ndcg"]["mean"] for one in (first, second)]
    assert lead["mean"] == pytest.approx(levels[0] - levels[1])
    assert figures["differences"]["stages"]["rank"]["click"]["ece"] == {"mean": 0, "low": 0, "high": 0}


def test_tables_name_bundles_measures_and_no_winner_of_a_bundle_against_itself(trained: Workspace) -> None:
    said = explore(trained, "eval", "--against", "active", "--users", "10", "--test-hours", "12")
    active = trained.bundles().find("active")
    assert f"A = {active}\nB = {active}\n" in said
    assert said.count("+0.0000 [+0.0000, +0.0000]") == 8 * 4 * 2 + 8 * 2 + 5
    assert "NDCG@10" in said
    lines = [line.split() for line in said.splitlines()]
    assert not [line for line in lines if line and line[-1] in ("A", "B")]


def test_one_bundle_alone_is_shown_with_all_its_measures(trained: Workspace) -> None:
    said = explore(trained, "eval", "--bundle", "active", "--users", "10")
    assert [name in said for name in ("AUC", "GAUC", "NDCG@10", "log loss", "ECE", "prerank by popularity")] == [
        True
    ] * 6


def test_what_cannot_be_judged_is_refused_by_name(trained: Workspace, tmp_path: Path) -> None:
    store = trained.bundles()
    foreign = variant(store, store.find("active"), schema_fingerprint="f00d").version
    with pytest.raises(SchemaMismatch, match=foreign):
        explore(trained, "eval", "--bundle", "active", "--against", foreign)
    with pytest.raises(EvaluationError, match=r"learned from events until .* test the last 36 hours"):
        explore(trained, "eval", "--bundle", "active", "--test-hours", "48")
    with pytest.raises(BundleMissing, match="'nothing' means no bundle"):
        explore(trained, "eval", "--bundle", "nothing")


def test_what_was_left_out_of_the_data_is_said(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(trained.current_dataset(), tmp_path / "misspelt"))
    pl.read_parquet(data / "users.parquet").with_columns(segmnet=pl.lit("new")).write_parquet(data / "users.parquet")
    with steps() as progress, pytest.raises(EvaluationError, match="learned from"):
        judge_bundles(trained, ["active"], data, 48, 10, progress)
    assert (
        "warning: " + str(data / "users.parquet") + ": column segmnet is not in the contract" in capsys.readouterr().err
    )


def test_only_a_difference_that_is_no_chance_has_a_winner() -> None:
    sure, unsure = {"mean": 0.2, "low": 0.1, "high": 0.3}, {"mean": 0.2, "low": -0.1, "high": 0.5}
    undefined = {"mean": None, "low": None, "high": None}
    assert (ahead(sure), ahead(sure, lower_is_better=True), ahead(unsure), ahead(undefined)) == ("A", "B", "", "")
    assert (text(undefined), text(sure, sign="+")) == ("-", "+0.2000 [+0.1000, +0.3000]")
