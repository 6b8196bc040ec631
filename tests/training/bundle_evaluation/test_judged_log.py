"""Which windows may judge a bundle, and what is said of those that may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features.counters import HOUR_MS
from training.bundle_evaluation import JudgedLog, OpenedBundle
from training.datasets import Dataset
from training.errors import EvaluationError


def test_a_window_that_training_has_seen_is_refused_with_the_longest_one_that_is_not(
    opened: OpenedBundle, log: JudgedLog
) -> None:
    with pytest.raises(
        EvaluationError, match=f"bundle {opened.version} learned from events until .* the last 36 hours"
    ):
        log.rows(opened, log.window(hours=37))


def test_a_log_that_ends_where_training_ended_cannot_judge(opened: OpenedBundle, dataset: Dataset) -> None:
    ended = JudgedLog(replace(dataset, as_of_ms=opened.bundle.manifest.training_window_end_ms))
    with pytest.raises(EvaluationError, match="bring a log that goes on after the training"):
        ended.window().check(opened.bundle.manifest)


def test_a_window_without_impressions_is_named(opened: OpenedBundle, dataset: Dataset) -> None:
    silent = JudgedLog(replace(dataset, as_of_ms=dataset.as_of_ms + 48 * HOUR_MS))
    with pytest.raises(EvaluationError, match=r"shows nothing between .* test more hours"):
        silent.rows(opened, silent.window())
