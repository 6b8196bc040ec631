"""A small good data set, for tests to break in one place at a time."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)


def users() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ["1", "2"],
            "registered_at": [NOON, None],
            "n_following": [3, None],
            "account_id": [7, 9],
        }
    )


def media() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "media_id": [10, 20],
            "author_id": [7, 8],
            "created_at": [NOON, NOON],
            "non_recommendable_score": [0.5, None],
            "embedding": [[1.0, 2.0], [3.0, 4.0]],
            "tags": [["cats"], None],
            "policy_flags": [["nudity", "graphic"], None],
        }
    )


def events() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ["1", "1", "2"],
            "media_id": [10, 10, 20],
            "author_id": [7, 7, 8],
            "event_time": at(0, 1, 2),
            "action": ["impression", "click", "dwell"],
            "value": [None, None, 1500.0],
            "position": [0, 0, None],
            "propensity": [0.5, 0.5, None],
        }
    )


def at(*after_noon_ms: int) -> pl.Series:
    """Times in milliseconds after noon, in the contract's type."""
    return pl.Series([NOON_MS + ms for ms in after_noon_ms]).cast(pl.Datetime("ms", "UTC"))


def with_value(frame: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    """The frame with one value exchanged; the column takes the type of its new values."""
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, strict=False))
