"""How a run cuts its log, and metrics that JSON can take. The run itself is tested end to end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.counters import DAY_MS
from training.datasets import Dataset
from training.errors import FitError
from training.pipeline import cut, plain
from training.recipes import RECIPES, Windows

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


def test_metrics_become_json_with_null_for_what_is_undefined() -> None:
    metrics = {"a": float("nan"), "b": [np.float32(0.5), np.int64(3)], "c": {"d": np.inf, "e": None, "f": "text"}}
    assert json.loads(json.dumps(plain(metrics))) == {
        "a": None,
        "b": [0.5, 3],
        "c": {"d": None, "e": None, "f": "text"},
    }


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_seed_reaches_every_step_and_changes_nothing_else(name: str) -> None:
    recipe = RECIPES[name]()
    seeded = recipe.seeded(77)
    seeds = [
        seeded.ig2vec.seed,
        seeded.two_tower.seed,
        *(part.fit.seed for part in (seeded.rerank, seeded.rank, seeded.student)),
    ]
    assert (seeds, seeded.seeded(1) == recipe.seeded(1)) == ([77] * 5, True)
