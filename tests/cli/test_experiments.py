"""`explore experiments`: the file checked against what is published here, and the arms of users."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.commands.stack import start_stack
from cli.errors import CommandError
from cli.main import build
from cli.stack import Ports
from cli.workspace import Workspace
from gateway.experiments.file import parse
from tests.retrieval_svc.published import publish

FILE = """
layers:
  weights:
    share: 0.10
    arms: {bold: {weight: 3, value_weights: {click: 2}}, same: }
    force: {bold: [qa]}
  chance:
    share: 1
    arms: {some: {random_slots: {share: 0.04, from: 3}, query: mine}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    publish(tmp_path / "bundles")
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "mine.igql").write_text("user.trending()")
    (tmp_path / "experiments.yaml").write_text(FILE)
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build(), ["--home", str(home), "experiments", *arguments])


def test_check_shows_the_share_of_every_arm_and_what_it_changes(home: Path) -> None:
    shown = run(home, "check")
    assert shown.exit_code == 0
    assert "7.50%" in shown.output
    assert "value_weights {click: 2.0}" in shown.output
    facts = {(each["layer"], each["arm"]): each for each in json.loads(run(home, "check", "--json").output)}
    assert facts["weights", "bold"]["users"] == pytest.approx(0.075)
    assert facts["weights", "bold"]["forced"] == ["qa"]
    assert facts["weights", "control"]["users"] == pytest.approx(0.9)
    assert facts["chance", "some"]["overrides"] == {
        "query": "mine",
        "random_slots": {"share": 0.04, "from": 3, "to": None},
    }
    assert sum(each["users"] for each in facts.values()) == pytest.approx(2)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("share: 1", "share: 2", "experiments.yaml:8:12: layers.chance.share must be a number from 0 to 1, got '2'"),
        ("click: 2", "clck: 2", "value_weights: bundle .* predicts no task 'clck'; did you mean 'click'?"),
        ("query: mine", "query: mien", r"there is no mien\.igql in .*queries; did you mean 'mine'\?"),
        ("query: mine", "bundle: v9", "layers.chance.arms.some.bundle is 'v9', which is not held"),
    ],
)
def test_what_is_wrong_is_told_by_check_and_before_anything_starts(
    before: str, after: str, problem: str, home: Path
) -> None:
    (home / "experiments.yaml").write_text(FILE.replace(before, after))
    with pytest.raises(CommandError, match=problem):
        raise run(home, "check").exception or AssertionError
    with pytest.raises(CommandError, match=problem):
        start_stack(Workspace(home), Ports.free())


def test_assign_tells_the_arms_that_a_gateway_gives(home: Path) -> None:
    users = ["qa", *(str(user) for user in range(20))]
    facts = json.loads(run(home, "assign", *users, "--json").output)
    experiments = parse(FILE)
    assert [(each["user"], each["arms"]) for each in facts] == [(user, experiments.assign(user).arms) for user in users]
    assert facts[0]["arms"] == {"chance": "some", "weights": "forced:bold"}
    assert facts[0]["excluded"]
    assert "forced:bold" in run(home, "assign", "qa").output


def test_another_file_may_be_checked(home: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("layers: {}")
    assert run(home, "check", str(tmp_path / "other.yaml")).output.endswith("other.yaml: no experiments\n")


def test_without_a_bundle_there_is_nothing_to_check_against(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(FILE)
    with pytest.raises(CommandError, match="no bundle is published"):
        raise run(tmp_path, "check").exception or AssertionError
