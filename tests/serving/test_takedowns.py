from __future__ import annotations

from pathlib import Path

import pytest

from serving.takedowns import TakedownsRefused, read_takedowns


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "takedowns.txt").write_text(text)
    return tmp_path / "takedowns.txt"


def test_lines_are_sorted_ids_by_kind(tmp_path: Path) -> None:
    found = read_takedowns(write(tmp_path, "media 7\naccount 3  # court order\n\n# nothing\nmedia 5\nmedia 7\n"))
    assert found.media_ids.tolist() == [5, 7]
    assert found.account_ids.tolist() == [3]


def test_a_mark_that_editors_begin_a_file_with_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    assert read_takedowns(write(tmp_path, "\ufeffmedia 7\n")).media_ids.tolist() == [7]


def test_an_empty_file_takes_nothing_down(tmp_path: Path) -> None:
    assert len(read_takedowns(write(tmp_path, "")).media_ids) == 0


def test_no_file_is_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(TakedownsRefused, match="none: there is no such file; an empty one takes nothing down"):
        read_takedowns(tmp_path / "none")


@pytest.mark.parametrize(
    "line", ["media", "media x", "media -1", "media 0", "user 5", "media 5 6", f"media {2**63}", "media ٣"]
)
def test_a_wrong_line_refuses_the_file_by_name_and_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(TakedownsRefused, match=r"takedowns\.txt:2: "):
        read_takedowns(write(tmp_path, f"media 1\n{line}\n"))


def test_bytes_that_are_no_text_refuse_the_file(tmp_path: Path) -> None:
    (tmp_path / "takedowns.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TakedownsRefused, match="cannot be read"):
        read_takedowns(tmp_path / "takedowns.txt")
