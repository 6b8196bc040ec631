"""Exported events in a data set: added once, with their users, and what cannot be used is counted."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from training.datasets import Dataset, load, write
from training.datasets.contract import EVENTS
from training.datasets.merge import with_events
from training.datasets.simulate import simulate, tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return simulate(tiny(), tmp_path_factory.mktemp("data") / "simulated")


def _events(world: Dataset, **columns: object) -> pl.DataFrame:
    """Two likes a minute after the end of the log."""
    media = world.media.head(2)
    later = pl.from_epoch(pl.Series([world.as_of_ms + 60_000] * 2), time_unit="ms").dt.replace_time_zone("UTC")
    row = {"user_id": ["42", "a stranger"], "event_time": later, "action": ["like"] * 2, "propensity": [0.5, None]}
    frame = pl.DataFrame({**row, "media_id": media["media_id"], "author_id": media["author_id"], **columns})
    return pl.DataFrame(
        [
            frame[column.name].cast(column.dtype)
            if column.name in frame.columns
            else pl.Series(column.name, [None] * 2, dtype=column.dtype)
            for column in EVENTS.columns
        ]
    )


def test_events_and_their_users_are_added_once(world: Dataset, tmp_path: Path) -> None:
    merged = with_events(world, _events(world))
    again = with_events(merged, _events(world))
    assert (len(merged.events) - len(world.events), len(again.events) - len(world.events)) == (2, 2)
    assert merged.users["user_id"].to_list() == [*world.users["user_id"].to_list(), "a stranger"]
    assert merged.as_of_ms == world.as_of_ms + 60_001
    written = write(merged, tmp_path / "merged")
    assert load(tmp_path / "merged").events.tail(2)["user_id"].to_list() == ["42", "a stranger"]
    assert written.warnings == world.warnings


def test_events_that_training_cannot_use_are_left_out_and_counted(world: Dataset) -> None:
    merged = with_events(world, _events(world, media_id=[2**62, int(world.media["media_id"][1])]))
    assert len(merged.events) == len(world.events) + 1
    assert "1 events were left out: the media table lacks their media" in merged.warnings
    merged = with_events(world, _events(world, author_id=[2**62, 2**62]))
    assert (len(merged.events), merged.as_of_ms) == (len(world.events), world.as_of_ms)
    assert "2 events were left out: their media has another author" in merged.warnings
    assert "a stranger" not in merged.users["user_id"]


def test_no_events_change_nothing(world: Dataset) -> None:
    merged = with_events(world, _events(world).clear())
    assert merged.events.equals(world.events)
    assert (merged.users.equals(world.users), merged.warnings) == (True, world.warnings)
