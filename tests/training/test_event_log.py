"""The columns of an event log: what they hold, in which order, and that it does not matter where they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.actions import Action
from tests.training.logs import START, Event, dataset, planted
from training import columns
from training.columns import Scratch
from training.datasets import Dataset
from training.event_log import NO_REQUEST, NO_SURFACE, EventLog

MEDIA: dict[int, str | None] = {10: "a", 20: "b"}
EVENTS = [
    Event("ann", 10, Action.IMPRESSION, 0, "r1", 0),
    Event("ann", 20, Action.IMPRESSION, 0, "r1", 1),
    Event("bob", 10, Action.IMPRESSION, 1, "r1"),
    Event("ann", 20, Action.CLICK, 2),
]


def same(one: EventLog, other: EventLog) -> None:
    for name, value in vars(one).items():
        if name != "scratch":
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_requests_positions_and_surfaces_keep_what_is_missing() -> None:
    data = dataset(EVENTS, MEDIA)
    surface = pl.Series("surface", ["feed", None, "explore", "feed"])
    log = EventLog.from_dataset(replace(data, events=data.events.with_columns(surface)))
    assert log.surfaces == ("feed", "explore")
    assert log.surface_E.tolist() == [0, NO_SURFACE, 1, 0]
    np.testing.assert_array_equal(log.position_E, [0, 1, np.nan, np.nan])
    assert log.request_E[0] == log.request_E[1] == log.request_E[2] != NO_REQUEST
    assert log.request_E[3] == NO_REQUEST


def shuffled(data: Dataset) -> Dataset:
    return replace(data, events=data.events.sample(fraction=1.0, shuffle=True, seed=3))


@pytest.mark.parametrize("chunk", [7, 1 << 19])
def test_columns_in_files_hold_what_columns_in_memory_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    data = shuffled(planted(users=12))
    in_memory = EventLog.from_dataset(data)
    monkeypatch.setattr(columns, "CHUNK", chunk)
    monkeypatch.setattr("training.event_log.CHUNK", chunk)
    scratch = Scratch(tmp_path, budget=0)
    same(EventLog.from_dataset(data, scratch), in_memory)
    assert (scratch.in_memory, scratch.in_files > 0) == (0, True)
    assert in_memory.time_ms_E.tolist() == sorted(in_memory.time_ms_E.tolist())


def test_events_of_one_moment_keep_their_order() -> None:
    data = dataset(EVENTS, MEDIA)
    backwards = replace(data, events=data.events.reverse())
    log = EventLog.from_dataset(backwards)
    assert (log.time_ms_E - START).tolist() == [0, 0, 60_000, 120_000]
    assert log.media_id_E.tolist() == [20, 10, 10, 20]


def test_a_log_without_events_is_empty() -> None:
    log = EventLog.from_parts((), 0, ("ann",), dataset(EVENTS, MEDIA).media)
    assert (len(log), log.count_before(START), log.positives_before(START).tolist()) == (0, 0, [])
