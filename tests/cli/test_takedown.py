"""`explore takedown`: what it writes is what the services read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bundles.disk import exclusive
from cli.errors import CommandError
from cli.main import build
from serving.takedowns import read_takedowns


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build(), ["--home", str(home), "takedown", *arguments])


def test_ids_are_added_once_and_removed_again(tmp_path: Path) -> None:
    assert run(tmp_path, "--media", "7", "--media", "5", "--account", "3").exit_code == 0
    assert run(tmp_path, "--media", "7").exit_code == 0
    found = read_takedowns(tmp_path / "takedowns.txt")
    assert (found.media_ids.tolist(), found.account_ids.tolist()) == ([5, 7], [3])
    assert (tmp_path / "takedowns.txt").read_text().count("media 7") == 1
    assert run(tmp_path, "--media", "7", "--account", "3", "--undo").exit_code == 0
    assert read_takedowns(tmp_path / "takedowns.txt").media_ids.tolist() == [5]


def test_without_ids_it_shows_the_list(tmp_path: Path) -> None:
    assert run(tmp_path).output == "nothing is taken down\n"
    (tmp_path / "takedowns.txt").write_text("media 5  # spam\n")
    assert run(tmp_path).output == "media 5  # spam\n"


def test_a_list_that_an_editor_began_with_a_mark_is_changed_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "takedowns.txt").write_text("\ufeffmedia 5\nmedia 6\n")
    assert run(tmp_path, "--media", "5", "--undo").exit_code == 0
    assert (tmp_path / "takedowns.txt").read_text() == "media 6\n"


def test_undoing_what_is_not_taken_down_is_an_error(tmp_path: Path) -> None:
    result = run(tmp_path, "--media", "7", "--undo")
    assert isinstance(result.exception, CommandError)
    assert "not taken down: media 7" in str(result.exception)


def test_a_broken_list_is_not_added_to(tmp_path: Path) -> None:
    (tmp_path / "takedowns.txt").write_text("medium 5\n")
    result = run(tmp_path, "--media", "7")
    assert isinstance(result.exception, CommandError)
    assert (tmp_path / "takedowns.txt").read_text() == "medium 5\n"


@pytest.mark.parametrize("kind", ["--media", "--account"])
@pytest.mark.parametrize("bad", ["0", "-1", "x", str(2**63)])
def test_an_id_is_one_that_the_services_take(tmp_path: Path, kind: str, bad: str) -> None:
    assert run(tmp_path, kind, bad).exit_code == 2
    assert not (tmp_path / "takedowns.txt").exists()


def test_the_largest_id_is_taken_down(tmp_path: Path) -> None:
    assert run(tmp_path, "--media", str(2**63 - 1)).exit_code == 0
    assert read_takedowns(tmp_path / "takedowns.txt").media_ids.tolist() == [2**63 - 1]


def test_what_was_written_by_hand_is_the_same_entry(tmp_path: Path) -> None:
    (tmp_path / "takedowns.txt").write_text("# spam\nmedia  007\n")
    assert run(tmp_path, "--media", "7", "--undo").exit_code == 0
    assert (tmp_path / "takedowns.txt").read_text() == "# spam\n"


def test_moderators_at_once_lose_no_entry(tmp_path: Path) -> None:
    mine = threading.Thread(target=run, args=(tmp_path, "--media", "7"))
    with exclusive(tmp_path):  # as another command does while it reads and writes
        mine.start()
        mine.join(0.5)
        (tmp_path / "takedowns.txt").write_text("media 5\n")
    mine.join(10)
    assert read_takedowns(tmp_path / "takedowns.txt").media_ids.tolist() == [5, 7]


def test_nothing_is_reported_that_the_services_would_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.takedown.swap_file", lambda file, _, durable: file.write_text("media 0\n"))
    result = run(tmp_path, "--media", "7")
    assert isinstance(result.exception, CommandError)
    assert "takedowns.txt:1" in str(result.exception)
    assert result.output == ""
