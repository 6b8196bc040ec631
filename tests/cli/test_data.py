"""The commands that make data sets never touch more than the one that was named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import main
from cli.commands.data import WorldSize, make_simulated
from cli.errors import CommandError
from cli.replacing import KUAIRAND, MERGE, SIMULATE, refuse_loss
from cli.workspace import Workspace
from tests.training.datasets.test_kuairand import LOG_HEADER, USERS, VIDEOS, line
from training.datasets import load
from training.datasets.contract import CONTRACT_VERSION


def _explore(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main.build(), ["--home", str(home), *arguments])


@pytest.mark.parametrize("name", ["", "..", "../x", "CURRENT"])
@pytest.mark.parametrize(
    "command",
    [("simulate", "--size", "tiny"), ("import", "kuairand", "logs"), ("events", "merge", "export", "--replace")],
    ids=["simulate", "import", "merge"],
)
def test_what_is_no_name_of_a_data_set_is_refused_before_anything_is_read_or_written(
    command: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    error = _explore(home, *command, "--name", name).exception
    assert isinstance(error, CommandError)
    assert f"{name!r} is no name of a data set" in str(error)
    assert not home.exists()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder of KuaiRand's files, with two exposures."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "log_standard_4_08_to_4_21_pure.csv").write_text(f"{LOG_HEADER}\n{line(0, 0, 0)}\n{line(7, 5, 1)}\n")
    (folder / "user_features_pure.csv").write_text(USERS)
    (folder / "video_features_basic_pure.csv").write_text(VIDEOS)
    return folder


def _held(home: Path, name: str, created_by: str | None) -> Path:
    """A data set, as far as it matters here: what it says that made it."""
    place = home / "data" / name
    place.mkdir(parents=True)
    (place / "dataset.json").write_text(json.dumps({"contract_version": CONTRACT_VERSION, "created_by": created_by}))
    return place


@pytest.mark.parametrize("made_by", [MERGE, None, SIMULATE, f"{KUAIRAND}ish x"])
def test_an_import_replaces_what_another_command_made_only_when_asked(
    made_by: str | None, tmp_path: Path, logs: Path
) -> None:
    place = _held(tmp_path, "live", made_by)
    before = (place / "dataset.json").read_text()
    command = ("import", "kuairand", str(logs), "--name", "live")
    error = _explore(tmp_path, *command).exception
    assert isinstance(error, CommandError)
    assert f"data set 'live' is there already, in {place}" in str(error)
    assert "--replace" in str(error)
    assert (place / "dataset.json").read_text() == before
    assert _explore(tmp_path, *command, "--replace").exit_code == 0
    assert len(load(place).events) == 2
    assert _explore(tmp_path, *command).exit_code == 0  # its own


@pytest.mark.parametrize("made_by", [MERGE, f"{KUAIRAND} logs"])
def test_a_simulation_replaces_what_another_command_made_only_when_asked(made_by: str, tmp_path: Path) -> None:
    place = _held(tmp_path, "live", made_by)
    error = _explore(tmp_path, "simulate", "--size", "tiny", "--name", "live").exception
    assert isinstance(error, CommandError)
    assert "data set 'live' is there already" in str(error)
    assert [file.name for file in place.iterdir()] == ["dataset.json"]
    workspace = Workspace(tmp_path)
    make_simulated(workspace, WorldSize.TINY, 1, "live", replace=True)
    assert (place / "truth").is_dir()
    make_simulated(workspace, WorldSize.TINY, 2, "live")  # its own
    assert load(place).seed == 2


def test_a_data_set_that_cannot_be_read_is_not_replaced_unasked(tmp_path: Path) -> None:
    (_held(tmp_path, "live", MERGE) / "dataset.json").write_text("{")
    with pytest.raises(CommandError, match="nobody can tell what made it"):
        refuse_loss(tmp_path / "data" / "live", MERGE)
