"""CSV files of other people: found plain or gzipped, and every bad cell named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from training.datasets.csv_source import find_csv, integers, read_csv
from training.errors import DatasetError


def column(tmp_path: Path, *cells: str, nullable: bool = False, high: int | None = None) -> list[int | None]:
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["x,y", *(f"{cell},0" for cell in cells)]))
    return integers(read_csv(file, ["x"]), file, ["x"], nullable=nullable, high=high)[0].to_list()


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    assert column(tmp_path, "12", "87433.0") == [12, 87433]


def test_large_integers_stay_exact_beside_floats(tmp_path: Path) -> None:
    assert column(tmp_path, str(2**60 + 1), "1.0") == [2**60 + 1, 1]


def test_empty_cells_are_null_where_they_may_be(tmp_path: Path) -> None:
    assert column(tmp_path, "1", "", nullable=True) == [1, None]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "value None: the cell is empty"),
        ("cat", "value 'cat': it is no whole number"),
        ("1.5", "value '1.5': it is no whole number"),
        ("nan", "value 'nan': it is no whole number"),
        ("inf", "value 'inf': it is no whole number"),
        ("1e300", "value '1e300': it is no whole number"),
        ("-1", "value '-1': it is negative"),
        ("2", "value '2': it is more than 1"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, cell: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.csv, column x, row 1: {reason}; download or copy the file again"):
        column(tmp_path, "0", cell, high=1)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DatasetError, match=r"a\.csv, column z: the column is missing"):
        read_csv(tmp_path / "a.csv", ["x", "z"])


@pytest.mark.parametrize("text", ["", "x,y\n1,2\n3,4,5\n"])
def test_text_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"a\.csv: it is no CSV \("):
        read_csv(tmp_path / "a.csv", ["x"])


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "flipped"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(b"x,y\n" + b"1,2\n" * 1000)
    broken = {"truncated": packed[:-12], "not gzip": b"x,y\n1,2\n", "flipped": packed[:12] + b"\xff" * 9 + packed[21:]}
    (tmp_path / "a.csv.gz").write_bytes(broken[damage])
    with pytest.raises(DatasetError, match=r"a\.csv\.gz: it cannot be read to its end"):
        read_csv(tmp_path / "a.csv.gz", ["x"])


def test_a_plain_file_goes_before_its_gzipped_twin(tmp_path: Path) -> None:
    for name in ("a_1.csv", "a_1.csv.gz", "a_2.csv.gz", "b.csv"):
        (tmp_path / name).touch()
    assert [file.name for file in find_csv(tmp_path, "a_*")] == ["a_1.csv", "a_2.csv.gz"]


def test_files_are_looked_for_in_the_data_folder_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").touch()
    assert find_csv(tmp_path, "a") == [tmp_path / "data" / "a.csv"]
    assert find_csv(tmp_path, "b") == []
