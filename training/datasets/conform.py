"""Brings one table to its contract, or says which value breaks it. Knows one table at a time; touches no file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from training.datasets.contract import TIME, Column, Presence, Table
from training.errors import DatasetError


@dataclass(frozen=True)
class Conformed:
    """A table with the contract's columns in its order and types, and what was kept out of it."""

    frame: pl.DataFrame
    ignored: tuple[str, ...]  # names of columns that the contract does not know


def conform(frame: pl.DataFrame, table: Table, file: str) -> Conformed:
    """The columns of `table`, cast and checked; nulls fill the nullable ones that are missing. Raises DatasetError."""
    if frame.is_empty():
        raise DatasetError(file, "it holds no rows", "write at least one row")
    columns = []
    for column in table.columns:
        if column.name in frame.columns:
            columns.append(_conform_column(frame[column.name], column, file))
        elif column.presence is Presence.REQUIRED:
            raise DatasetError(file, "the column is missing", f"add it as {column.dtype}", column=column.name)
        elif column.presence is Presence.NULLABLE:
            columns.append(pl.Series(column.name, [None], dtype=column.dtype).new_from_index(0, len(frame)))
    conformed = pl.DataFrame(columns)
    if table.key is not None:
        check_unique(conformed[table.key], file)
    known = {column.name for column in table.columns}
    return Conformed(conformed, tuple(name for name in frame.columns if name not in known))


def refuse(series: pl.Series, bad: pl.Series, file: str, reason: str, advice: str) -> None:
    """Raises DatasetError for the first row where `bad` is true, with the value that `series` has there."""
    row = bad.fill_null(False).arg_max() if len(bad) else None
    if row is not None and bad[row]:
        raise DatasetError(file, reason, advice, column=series.name, row=row, value=_plain(series[row]))


def check_unique(series: pl.Series, file: str) -> None:
    """Raises DatasetError for the first row that repeats the value of an earlier one; nulls repeat nothing."""
    repeated = ~series.is_first_distinct() & series.is_not_null()
    refuse(series, repeated, file, "it occurs in an earlier row too", "keep one row for each")


def _conform_column(series: pl.Series, column: Column, file: str) -> pl.Series:
    converted = _cast(series, column, file)
    lost = converted.is_null() & series.is_not_null()
    refuse(series, lost, file, f"it does not fit {column.dtype}", "write a value of that type")
    if column.presence is Presence.REQUIRED:
        refuse(converted, converted.is_null(), file, "the value is missing", "every row needs one")
    if column.dtype == pl.String:
        refuse(converted, converted.str.len_bytes() == 0, file, "the text is empty", "write null for no value")
    elif isinstance(column.dtype, pl.List):
        _check_lists(converted, file)
        if column.max_names is not None:
            _check_names(converted, column.max_names, file)
    elif column.dtype.is_float():
        refuse(converted, ~converted.is_finite(), file, "it is not a finite number", "write null for no value")
    _check_range(series, converted, column, file)
    if column.unique:
        check_unique(converted, file)
    return converted


def _cast(series: pl.Series, column: Column, file: str) -> pl.Series:
    """Lossless conversions only; a value that does not fit becomes null, for the caller to name."""
    source, target = series.dtype, column.dtype
    if source in (pl.Null, target):
        return series.cast(target)
    if target == pl.String and (source.is_integer() or isinstance(source, pl.Categorical | pl.Enum)):
        return series.cast(pl.String)
    if (target.is_integer() and source.is_integer()) or (target.is_float() and source.is_numeric()):
        return series.cast(target, strict=False)
    if target == TIME and isinstance(source, pl.Datetime):
        if source.time_zone is None:
            raise _wrong_type(column, file, "a time without a time zone", "replace_time_zone says which one it is in")
        return series.dt.convert_time_zone("UTC").cast(TIME)
    if isinstance(target, pl.List) and isinstance(source, pl.List | pl.Array):
        return _cast_lists(series, column, file)
    raise _wrong_type(column, file, str(source), f"write {target}")


def _cast_lists(series: pl.Series, column: Column, file: str) -> pl.Series:
    lists = series.arr.to_list() if isinstance(series.dtype, pl.Array) else series
    inner, target = lists.dtype, column.dtype
    assert isinstance(inner, pl.List)
    assert isinstance(target, pl.List)
    fits = inner.inner == pl.Null or (inner.inner == pl.String) == (target.inner == pl.String)
    if not fits or (target.inner == pl.Float32 and not (inner.inner.is_numeric() or inner.inner == pl.Null)):
        raise _wrong_type(column, file, str(series.dtype), f"write {target}")
    return lists.cast(target)


def _wrong_type(column: Column, file: str, found: str, advice: str) -> DatasetError:
    return DatasetError(file, f"the type is {found}, the contract has {column.dtype}", advice, column=column.name)


def _check_lists(series: pl.Series, file: str) -> None:
    refuse(series, series.list.eval(pl.element().is_null()).list.any(), file, "the list holds a null", "drop it")
    if series.dtype != pl.List(pl.Float32):
        return
    finite = series.list.eval(pl.element().is_finite()).list.all()
    refuse(series, ~finite, file, "the list holds a number that is not finite", "write null for no embedding")
    length_M = series.list.len()
    usual = length_M.drop_nulls().head(1).to_list()
    reason = f"its length is not {usual}, that of the first list"
    refuse(series, ~length_M.is_in(usual), file, reason, "embed all media with one model")


def _check_names(series: pl.Series, most: int, file: str) -> None:
    names = series.explode().drop_nulls().unique(maintain_order=True)
    refuse(series, series.list.contains(""), file, "the list holds an empty name", "drop it")
    if len(names) > most:
        one_too_many = series.list.contains(names[most])
        refuse(series, one_too_many, file, f"the column holds {len(names)} different names", f"use at most {most}")


def _check_range(series: pl.Series, converted: pl.Series, column: Column, file: str) -> None:
    advice = f"values lie in {column.range_text()}"
    if column.low is not None:
        below = converted <= column.low if column.low_is_out else converted < column.low
        refuse(series, below, file, "it is too small", advice)
    if column.high is not None:
        refuse(series, converted > column.high, file, "it is too large", advice)


def _plain(value: object) -> object:
    """Lists print as lists, times as ISO text."""
    if isinstance(value, pl.Series):
        return value.to_list()
    return value.isoformat() if isinstance(value, datetime) else value
