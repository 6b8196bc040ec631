from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.watched import WatchedFile


def read_number(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "number").write_text("1")
    return tmp_path / "number"


def test_the_value_follows_the_file(file: Path) -> None:
    watched = WatchedFile(file, read_number)
    assert watched.value() == 1
    file.write_text("22")
    assert watched.value() == 22
    file.unlink()
    assert watched.value() == 0


def test_a_refused_file_is_read_again_when_it_is_reconsidered(file: Path) -> None:
    allowed = [1]

    def read_allowed(path: Path) -> int:
        if (number := read_number(path)) not in allowed:
            raise ValueError(f"{number} is not allowed")
        return number

    watched = WatchedFile(file, read_allowed)
    file.write_text("22")
    assert (watched.value(), watched.refused) == (1, "22 is not allowed")
    allowed.append(22)
    assert watched.value() == 1
    watched.reconsider()
    assert (watched.value(), watched.refused) == (22, "")


def test_a_broken_change_leaves_the_value_and_says_why(file: Path) -> None:
    watched = WatchedFile(file, read_number)
    file.write_text("twenty-two")
    assert watched.value() == 1
    assert "twenty-two" in watched.refused
    file.write_text("333")
    assert watched.value() == 333
    assert watched.refused == ""


def test_a_file_that_is_broken_at_the_start_is_an_error(file: Path) -> None:
    file.write_text("one")
    with pytest.raises(ValueError, match="one"):
        WatchedFile(file, read_number)


def test_an_unchanged_file_is_read_once(file: Path) -> None:
    reads: list[Path] = []

    def read(path: Path) -> int:
        reads.append(path)
        return read_number(path)

    watched = WatchedFile(file, read)
    assert [watched.value() for _ in range(5)] == [1] * 5
    file.write_text("wrong")
    assert [watched.value() for _ in range(5)] == [1] * 5
    assert len(reads) == 2


def test_a_link_that_points_elsewhere_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    os.utime(tmp_path / "b", ns=(0, os.stat(tmp_path / "a").st_mtime_ns))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    watched = WatchedFile(tmp_path / "link", read_number)
    (tmp_path / "next").symlink_to(tmp_path / "b")
    os.replace(tmp_path / "next", tmp_path / "link")
    assert watched.value() == 2
