"""The contract names each column once and describes its range as a person would write it."""

from __future__ import annotations

import polars as pl
import pytest

from training.datasets.contract import EVENTS, TABLES, Column, Table


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_column_is_named_twice(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (Column("a", pl.Float32(), low=0, high=1), "[0, 1]"),
        (Column("a", pl.Float32(), low=0, high=1, low_is_out=True), "(0, 1]"),
        (Column("a", pl.Int64(), low=1), "[1, inf)"),
        (Column("a", pl.Int64()), "(-inf, inf)"),
    ],
)
def test_a_range_reads_as_an_interval(column: Column, text: str) -> None:
    assert column.range_text() == text


def test_events_have_no_key() -> None:
    assert EVENTS.key is None
