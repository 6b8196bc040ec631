"""Writing is all or nothing: whatever fails, the directory holds what it held before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.training.datasets.frames import at, events, media, users, with_value
from training.datasets import Dataset, checked, load, write
from training.datasets.write import staging
from training.errors import DatasetError


@pytest.fixture
def dataset() -> Dataset:
    return checked(users(), media(), events(), name="small")


def test_events_are_sorted_by_time_and_ties_keep_their_order(dataset: Dataset, tmp_path: Path) -> None:
    tied = events().with_columns(event_time=at(5, 5, 0))
    write(dataclasses.replace(dataset, events=tied, as_of_ms=dataset.as_of_ms + 5), tmp_path / "d")
    assert load(tmp_path / "d").events["action"].to_list() == ["dwell", "impression", "click"]


def test_a_bad_value_leaves_nothing_behind(dataset: Dataset, tmp_path: Path) -> None:
    bad = dataclasses.replace(dataset, events=with_value(events(), "action", 0, "poke"))
    with pytest.raises(DatasetError, match=r"events\.parquet, column action, row 0: value 'poke': unknown action"):
        write(bad, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_data_set_that_was_there(dataset: Dataset, tmp_path: Path) -> None:
    write(dataset, tmp_path / "d")
    with pytest.raises(DatasetError):
        write(dataclasses.replace(dataset, users=users()[:1]), tmp_path / "d")
    assert len(load(tmp_path / "d").users) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_data_set_is_replaced_whole(dataset: Dataset, tmp_path: Path) -> None:
    with staging(tmp_path / "d") as staged:
        (staged / "dataset.json").write_text("{}")
        (staged / "truth").mkdir()
    written = write(dataset, tmp_path / "d")
    assert written.root == tmp_path / "d"
    assert not (tmp_path / "d" / "truth").exists()


def test_an_empty_directory_is_used(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    write(dataset, tmp_path / "d")
    assert len(load(tmp_path / "d").events) == 3


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_is_no_data_set_is_never_replaced(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "letters"
    precious = target / "love.txt" if kind == "directory" else target
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("dear")
    with pytest.raises(DatasetError, match=r"letters: it exists and is no data set; name another directory"):
        write(dataset, target)
    assert precious.read_text() == "dear"


def test_an_interrupt_between_the_renames_brings_the_old_data_set_back(dataset: Dataset, tmp_path: Path) -> None:
    write(dataset, tmp_path / "d")
    with pytest.raises(FileNotFoundError), staging(tmp_path / "d") as staged:
        staged.rmdir()  # the second rename finds nothing to move
    assert len(load(tmp_path / "d").users) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
