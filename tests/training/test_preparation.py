"""How a run cuts its log by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.counters import DAY_MS
from training.datasets import Dataset
from training.errors import FitError
from training.preparation import cut
from training.recipes import Windows

START = datetime(2026, 1, 1, tzinfo=UTC)


def _log(days: float) -> Dataset:
    times = pl.Series("event_time", [START, START + timedelta(days=days)], dtype=pl.Datetime("ms", "UTC"))
    as_of_ms = int((START + timedelta(days=days)).timestamp() * 1000) + 1
    return Dataset(pl.DataFrame(), pl.DataFrame(), pl.DataFrame({"event_time": times}), as_of_ms, "log")


@given(st.floats(4, 400))
def test_windows_follow_each_other_to_the_end_of_the_log(days: float) -> None:
    cuts = cut(_log(days), Windows())
    assert cuts.start_ms < cuts.embedding_end_ms < cuts.valid_start_ms < cuts.test_start_ms < cuts.end_ms
    assert cuts.end_ms - cuts.test_start_ms == DAY_MS


def test_a_log_that_is_too_short_says_how_long_it_is() -> None:
    with pytest.raises(FitError, match="a log of 48 h leaves the rankers no time"):
        cut(_log(2), Windows())
