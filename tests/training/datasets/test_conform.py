"""One table against its contract: what is cast, what is filled, and which message each kind of damage gets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.datasets.frames import NOON, events, media, users, with_value
from training.datasets.conform import conform
from training.datasets.contract import EVENTS, MEDIA, USERS, Table
from training.errors import DatasetError

TABLES = {"users": (users, USERS), "media": (media, MEDIA), "events": (events, EVENTS)}


def conformed(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    return conform(frame, table, table.file).frame


def refusal(name: str, column: str, row: int, value: object) -> DatasetError:
    make, table = TABLES[name]
    with pytest.raises(DatasetError) as caught:
        conform(with_value(make(), column, row, value), table, table.file)
    return caught.value


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "reason"),
    [
        ("users", "user_id", 1, None, "the value is missing; every row needs one"),
        ("users", "user_id", 1, "", "the text is empty; write null for no value"),
        ("users", "user_id", 1, "1", "it occurs in an earlier row too; keep one row for each"),
        ("users", "n_following", 0, -1, "it is too small; values lie in [0, inf)"),
        ("users", "account_id", 1, 0, "it is too small; values lie in [1, inf)"),
        ("users", "account_id", 1, 7, "it occurs in an earlier row too; keep one row for each"),
        ("media", "media_id", 0, 0, "it is too small; values lie in [1, inf)"),
        ("media", "media_id", 1, 10, "it occurs in an earlier row too; keep one row for each"),
        ("media", "author_id", 1, -3, "it is too small; values lie in [1, inf)"),
        ("media", "created_at", 0, None, "the value is missing; every row needs one"),
        ("media", "non_recommendable_score", 1, 1.5, "it is too large; values lie in [0, 1]"),
        ("media", "non_recommendable_score", 0, float("nan"), "it is not a finite number; write null for no value"),
        ("media", "embedding", 1, [1.0], "its length is not [2], that of the first list"),
        ("media", "embedding", 1, [1.0, float("inf")], "the list holds a number that is not finite"),
        ("media", "tags", 0, ["a", None], "the list holds a null"),
        ("media", "policy_flags", 1, ["graphic", None], "the list holds a null"),
        ("media", "policy_flags", 1, ["graphic", ""], "the list holds an empty name; drop it"),
        (
            "media",
            "policy_flags",
            1,
            [str(n) for n in range(31)],
            "the column holds 33 different names; use at most 32",
        ),
        ("events", "value", 2, float("inf"), "it is not a finite number"),
        ("events", "value", 2, -1.0, "it is too small; values lie in [0, inf)"),
        ("events", "position", 1, -1, "it is too small; values lie in [0, inf)"),
        ("events", "position", 1, 2**40, "it does not fit Int32"),
        ("events", "propensity", 0, 0.0, "it is too small; values lie in (0, 1]"),
        ("events", "propensity", 1, 1.01, "it is too large; values lie in (0, 1]"),
        ("events", "event_time", 2, None, "the value is missing"),
    ],
)
def test_a_bad_value_is_named_with_its_place(table: str, column: str, row: int, value: object, reason: str) -> None:
    error = refusal(table, column, row, value)
    assert (error.file, error.column, error.row) == (f"{table}.parquet", column, row)
    assert f"{table}.parquet, column {column}, row {row}: value " in str(error)
    assert reason in str(error)


@pytest.mark.parametrize(
    ("table", "column", "values", "found"),
    [
        ("users", "user_id", [1.0, 2.0], "Float64"),
        ("media", "media_id", ["10", "20"], "String"),
        ("media", "media_id", [10.0, 20.0], "Float64"),
        ("media", "created_at", [datetime(2026, 1, 1), datetime(2026, 1, 2)], "a time without a time zone"),
        ("media", "created_at", [1, 2], "Int64"),
        ("media", "embedding", [["a"], ["b"]], "List(String)"),
        ("media", "tags", [[1], [2]], "List(Int64)"),
        ("media", "tags", ["cats", "dogs"], "String"),
        ("media", "policy_flags", [1, 2], "Int64"),
        ("users", "account_id", ["7", "9"], "String"),
    ],
)
def test_a_wrong_type_is_named(table: str, column: str, values: list[Any], found: str) -> None:
    make, contract = TABLES[table]
    with pytest.raises(
        DatasetError, match=rf"column {column}: the type is {found.replace('(', '.').replace(')', '.')}"
    ):
        conformed(make().with_columns(pl.Series(column, values)), contract)


@pytest.mark.parametrize(("table", "column"), [("users", "user_id"), ("media", "created_at"), ("events", "action")])
def test_a_missing_required_column_is_named(table: str, column: str) -> None:
    make, contract = TABLES[table]
    with pytest.raises(DatasetError, match=f"{table}.parquet, column {column}: the column is missing; add it as"):
        conformed(make().drop(column), contract)


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"users\.parquet: it holds no rows"):
        conformed(users().clear(), USERS)


def test_missing_nullable_columns_are_filled_and_optional_ones_are_not() -> None:
    frame = conformed(media().drop("non_recommendable_score", "embedding", "tags", "policy_flags"), MEDIA)
    assert frame["non_recommendable_score"].to_list() == [None, None]
    assert frame.columns == [column.name for column in MEDIA.columns[:6]]


def test_any_number_of_users_may_have_no_account() -> None:
    frame = users().with_columns(account_id=pl.lit(None, dtype=pl.Int64))
    assert conformed(frame, USERS)["account_id"].to_list() == [None, None]
    assert conformed(frame.drop("account_id"), USERS)["account_id"].dtype == pl.Int64


def test_as_many_flags_as_there_are_bits_are_taken() -> None:
    frame = with_value(media(), "policy_flags", 1, [str(number) for number in range(30)])
    assert conformed(frame, MEDIA)["policy_flags"].list.len().to_list() == [2, 30]


def test_unknown_columns_are_kept_out_and_told() -> None:
    found = conform(users().with_columns(shoe_size=pl.lit(42)), USERS, "users.parquet")
    assert found.ignored == ("shoe_size",)
    assert "shoe_size" not in found.frame.columns


def test_integer_user_ids_become_text() -> None:
    frame = conformed(users().with_columns(user_id=pl.Series([5, 6], dtype=pl.UInt32)), USERS)
    assert frame["user_id"].to_list() == ["5", "6"]


def test_categories_become_text() -> None:
    assert conformed(users().with_columns(pl.col("user_id").cast(pl.Categorical)), USERS)["user_id"].dtype == pl.String


def test_times_of_other_zones_and_units_keep_their_moment() -> None:
    local = media().with_columns(
        pl.col("created_at").dt.convert_time_zone("Asia/Shanghai").cast(pl.Datetime("ns", "Asia/Shanghai"))
    )
    frame = conformed(local, MEDIA)
    assert frame["created_at"].dtype == pl.Datetime("ms", "UTC")
    assert frame["created_at"][0] == NOON


def test_fixed_size_embeddings_become_lists() -> None:
    frame = conformed(media().with_columns(pl.col("embedding").cast(pl.Array(pl.Float64, 2))), MEDIA)
    assert frame["embedding"].to_list() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_list_column_may_be_all_null() -> None:
    frame = media().with_columns(embedding=pl.lit(None, dtype=pl.List(pl.Float32)), tags=pl.lit(None))
    assert conformed(frame, MEDIA)["embedding"].null_count() == 2


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**62), min_size=1, max_size=20, unique=True))
def test_conforming_twice_changes_nothing(ids: list[int]) -> None:
    frame = pl.DataFrame({"media_id": ids, "author_id": ids, "created_at": [NOON] * len(ids)})
    once = conformed(frame, MEDIA)
    assert conformed(once, MEDIA).equals(once)


@settings(deadline=None)
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=20).filter(lambda scores: any(not 0 <= s <= 1 for s in scores))
)
def test_the_value_that_is_named_is_out_of_range(scores: list[float]) -> None:
    ids = range(1, len(scores) + 1)
    frame = pl.DataFrame({"media_id": ids, "author_id": 1, "created_at": NOON, "non_recommendable_score": scores})
    with pytest.raises(DatasetError) as caught:
        conformed(frame, MEDIA)
    assert caught.value.row is not None
    assert not 0 <= scores[caught.value.row] <= 1
