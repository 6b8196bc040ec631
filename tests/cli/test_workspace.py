"""The directory of one installation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.workspace import Workspace
from retrieval_svc.igql.files import DEFAULT_QUERY
from training.datasets.contract import CONTRACT_VERSION


def test_without_a_data_set_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="explore simulate"):
        Workspace(tmp_path).current_dataset()


def test_the_data_set_made_last_is_the_one_in_use(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.use_dataset("simulated")
    workspace.use_dataset("kuairand")
    assert workspace.current_dataset() == workspace.dataset("kuairand")


def test_users_of_two_data_sets_do_not_share_state(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.user_state("a") != workspace.user_state("b")


def test_a_merged_data_set_goes_on_with_the_state_of_the_first_one_that_it_was_made_from(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.dataset("b").mkdir(parents=True)
    made_from = [{"name": "a", "mark": "1"}, {"name": "a2", "mark": "2"}]
    (workspace.dataset("b") / "dataset.json").write_text(
        json.dumps({"contract_version": CONTRACT_VERSION, "made_from": made_from})
    )
    assert workspace.user_state("b") == workspace.user_state("a")


def test_the_query_file_begins_as_a_copy_of_the_default_and_stays_as_it_was_edited(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    own = workspace.query_file()
    assert (own, own.read_text()) == (tmp_path / "home" / "sourcing.igql", DEFAULT_QUERY.read_text())
    own.write_text("user.trending()")
    assert workspace.query_file().read_text() == "user.trending()"


def test_another_query_file_wins_and_makes_no_copy(tmp_path: Path) -> None:
    other = tmp_path / "other.igql"
    other.write_text("user.trending()")
    assert Workspace(tmp_path / "home", other).query_file() == other
    assert not (tmp_path / "home").exists()


def test_another_query_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"other\.igql.*\n.*EXPLORE_IGQL_FILE"):
        Workspace(tmp_path, tmp_path / "other.igql").query_file()
