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


def test_a_data_set_that_lies_elsewhere_becomes_one_of_the_workspace(tmp_path: Path) -> None:
    workspace, brought = Workspace(tmp_path / "home"), tmp_path / "srv" / "mylog"
    brought.mkdir(parents=True)
    assert workspace.dataset_name(brought) == "mylog"
    assert (workspace.register(brought), workspace.register(brought)) == (True, False)
    assert workspace.held_dataset("mylog").resolve() == brought
    assert workspace.current_dataset() == workspace.dataset("mylog")
    other = tmp_path / "srv" / "2026"
    other.mkdir()
    assert workspace.register(other)
    assert workspace.current_dataset() == workspace.dataset("mylog")  # another one is in use already


def test_a_link_under_another_name_keeps_it(tmp_path: Path) -> None:
    workspace, brought = Workspace(tmp_path / "home"), tmp_path / "srv" / "2026"
    brought.mkdir(parents=True)
    entry = workspace.dataset("mylog")
    entry.parent.mkdir(parents=True)
    entry.symlink_to(brought)
    assert (workspace.dataset_name(entry), workspace.register(entry)) == ("mylog", False)


def test_the_directory_where_one_stands_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mylog" / "below").mkdir(parents=True)
    workspace = Workspace(tmp_path / "home")
    monkeypatch.chdir(tmp_path / "mylog")
    assert workspace.dataset_name(Path()) == "mylog"
    assert workspace.dataset_name(Path("below/..")) == "mylog"


@pytest.mark.parametrize("kind", ["directory", "link", "dangling link"])
def test_a_name_that_means_another_data_set_is_refused(kind: str, tmp_path: Path) -> None:
    workspace, brought = Workspace(tmp_path / "home"), tmp_path / "srv" / "mylog"
    brought.mkdir(parents=True)
    entry = workspace.dataset("mylog")
    entry.parent.mkdir(parents=True)
    if kind == "directory":
        entry.mkdir()
    else:
        entry.symlink_to(tmp_path / ("home" if kind == "link" else "gone"))
    for refuses in (workspace.dataset_name, workspace.register):
        with pytest.raises(CommandError, match=f"'mylog' is another one here: {entry} is not {brought}"):
            refuses(brought)


def test_a_data_set_that_is_gone_is_named_with_its_place(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(CommandError, match=rf"'mylog' is not there: {workspace.dataset('mylog')}.*\n.*a link"):
        workspace.held_dataset("mylog")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/x", "-x", ".x", " x", "x ", "a\tb", "x\n", "a\0b", "CURRENT", "x" * 101]
)
def test_what_is_no_name_leads_nowhere(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.use_dataset("simulated")
    with pytest.raises(CommandError, match=r"is no name of a data set\n.*letters"):
        workspace.dataset(name)


@pytest.mark.parametrize("name", ["x", "2026", "_x", "my log", "Größe 1", "my-log.2026_1", "CURRENTLY", "x" * 100])
def test_a_name_leads_to_an_entry_among_the_data_sets(name: str, tmp_path: Path) -> None:
    assert Workspace(tmp_path).dataset(name) == tmp_path / "data" / name


def test_a_data_set_of_an_earlier_release_keeps_a_name_that_would_be_refused_now(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    old = tmp_path / "data" / "-my log"
    old.mkdir(parents=True)
    workspace.use_dataset("-my log")
    assert workspace.held_dataset("-my log") == workspace.current_dataset() == old
    assert workspace.dataset_name(old) == "-my log"


def test_a_directory_whose_name_is_none_is_refused_until_a_link_names_it(tmp_path: Path) -> None:
    workspace, brought = Workspace(tmp_path / "home"), tmp_path / "-my log"
    brought.mkdir()
    with pytest.raises(CommandError, match="by a link"):
        workspace.register(brought)
    workspace.datasets.mkdir(parents=True)
    (workspace.datasets / "mylog").symlink_to(brought)
    assert not workspace.register(workspace.datasets / "mylog")
    assert workspace.current_dataset() == workspace.dataset("mylog")


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
