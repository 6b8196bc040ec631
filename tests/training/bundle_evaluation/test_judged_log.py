"""Which windows may judge a bundle, and what is said of those that may not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.counters import HOUR_MS
from training.bundle_evaluation import JudgedLog, OpenedBundle
from training.datasets import Dataset, checked
from training.datasets.contract import TIME
from training.errors import EvaluationError, FitError
from training.ranking_set import RankingSet


def test_a_window_that_training_has_seen_is_refused_with_the_longest_one_that_is_not(
    opened: OpenedBundle, log: JudgedLog
) -> None:
    with pytest.raises(
        EvaluationError, match=f"bundle {opened.version} learned from events until .* the last 36 hours"
    ):
        log.rows(opened, log.window(hours=37))


def test_frozen_rows_are_those_of_the_window_as_users_were_when_it_began(opened: OpenedBundle, log: JudgedLog) -> None:
    window = log.window()
    found = log.rows(opened, window)
    assert found.rows.same_impressions(found.frozen)
    np.testing.assert_array_equal(found.rows.label_NT, found.frozen.label_NT)
    time_ms_B = found.rows.time_ms_N[np.unique(found.rows.request_N, return_index=True)[1]]

    def newest_ms(rows: RankingSet) -> int:
        done_BL = rows.history_action_BL > 0
        return int((time_ms_B[:, None] - rows.history_age_ms_BL)[done_BL].max())

    assert newest_ms(found.frozen) < window.start_ms < newest_ms(found.rows)


def test_a_log_that_ends_where_training_ended_cannot_judge(opened: OpenedBundle, dataset: Dataset) -> None:
    ended = JudgedLog(replace(dataset, as_of_ms=opened.bundle.manifest.training_window_end_ms))
    with pytest.raises(EvaluationError, match="bring a log that goes on after the training"):
        ended.window().check(opened.bundle.manifest)


def test_a_window_without_impressions_is_named(opened: OpenedBundle, dataset: Dataset) -> None:
    silent = JudgedLog(replace(dataset, as_of_ms=dataset.as_of_ms + 48 * HOUR_MS))
    with pytest.raises(EvaluationError, match=r"shows nothing between .* test more hours"):
        silent.rows(opened, silent.window())


@pytest.mark.parametrize("time_ms", [0, 1_760_000_000_000_000])  # unset; microseconds taken for milliseconds
def test_an_event_with_a_wrong_clock_is_named(dataset: Dataset, time_ms: int) -> None:
    first = pl.int_range(pl.len()) == 0
    time = pl.when(first).then(pl.lit(time_ms).cast(TIME)).otherwise(pl.col("event_time"))
    moved = checked(dataset.users, dataset.media, dataset.events.with_columns(event_time=time), name="moved")
    with pytest.raises(FitError, match=r"column event_time: the event of user .* days from all the rest of the log"):
        JudgedLog(moved).window()
