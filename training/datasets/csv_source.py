"""Reads numbers out of CSV files that somebody else wrote, and names the cell that is wrong. Knows no data set."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from training.datasets.conform import refuse
from training.errors import DatasetError

_ADVICE = "download or copy the file again"


def find_csv(directory: Path, pattern: str) -> list[Path]:
    """Files `pattern`.csv or .csv.gz in DIR or else in DIR/data, by name; the plain file where both are there."""
    for folder in (directory, directory / "data"):
        found = {file.name.removesuffix(".gz"): file for file in sorted(folder.glob(f"{pattern}.csv.gz"))}
        found |= {file.name: file for file in sorted(folder.glob(f"{pattern}.csv"))}
        if found:
            return [found[name] for name in sorted(found)]
    return []


def read_csv(file: Path, columns: Sequence[str]) -> pl.DataFrame:
    """All cells as text, empty ones as null. Raises DatasetError for a damaged file or when one of `columns` is missing."""
    content = _content(file)
    try:
        frame = pl.read_csv(content, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DatasetError(str(file), f"it is no CSV ({str(error).splitlines()[0]})", _ADVICE) from error
    for name in columns:
        if name not in frame.columns:
            raise DatasetError(str(file), "the column is missing", _ADVICE, column=name)
    return frame


def integers(
    frame: pl.DataFrame, file: Path, names: Sequence[str], *, nullable: bool = False, high: int | None = None
) -> list[pl.Series]:
    """Columns of `frame` as non-negative Int64; "12.0" counts as 12. Raises DatasetError naming the cell."""
    return [_integers(frame[name], str(file), nullable, high) for name in names]


def _integers(text: pl.Series, file: str, nullable: bool, high: int | None) -> pl.Series:
    whole = text.cast(pl.Int64, strict=False)
    if whole.null_count() > text.null_count():  # a float: slower, and exact up to 2**53 only
        number = text.cast(pl.Float64, strict=False)
        is_whole = (number.abs() < 2.0**63) & (number == number.floor())
        refuse(text, text.is_not_null() & ~is_whole.fill_null(False), file, "it is no whole number", _ADVICE)
        whole = whole.fill_null(number.cast(pl.Int64, strict=False))
    if not nullable:
        refuse(text, whole.is_null(), file, "the cell is empty", _ADVICE)
    refuse(text, whole < 0, file, "it is negative", _ADVICE)
    if high is not None:
        refuse(text, whole > high, file, f"it is more than {high}", _ADVICE)
    return whole


def _content(file: Path) -> bytes:
    """All of the file at once: a compressed file that ends early is noticed before any of its rows is used."""
    try:
        if file.suffix == ".gz":
            with gzip.open(file) as stream:
                return stream.read()
        return file.read_bytes()
    except (EOFError, zlib.error, OSError) as error:
        raise DatasetError(str(file), f"it cannot be read to its end ({error})", _ADVICE) from error
