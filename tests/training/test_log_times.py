"""A log with one wrong clock is refused by name, and a window without impressions before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from features.actions import Action
from tests.training.bundle_evaluation.conftest import Silent
from tests.training.logs import HOUR, START, planted
from training import columns
from training.checkpoints import KeepNothing
from training.datasets import Dataset, checked
from training.datasets.contract import TIME
from training.errors import FitError
from training.event_log import EventLog
from training.log_times import check_times, check_windows
from training.preparation import Preparation
from training.recipes import Recipe, Windows

DAY = 24 * HOUR
WINDOWS = Windows(embedding_share=0.2, valid_ms=12 * HOUR, test_ms=24 * HOUR)


def moved(data: Dataset, events: int, time_ms: int) -> Dataset:
    """The same with the first events at another time."""
    time = pl.when(pl.int_range(pl.len()) < events).then(pl.lit(time_ms).cast(TIME)).otherwise(pl.col("event_time"))
    return checked(data.users, data.media, data.events.with_columns(event_time=time), name="moved")


def prepared(data: Dataset) -> Preparation:
    return Preparation(Recipe("planted", WINDOWS), data, Silent(), KeepNothing())


@pytest.mark.parametrize("chunk", [7, columns.CHUNK])
@pytest.mark.parametrize(
    ("events", "time_ms", "said"),
    [
        (
            1,
            0,
            r"user 'u3' on media \d+ at 1970-01-01 00:00 UTC lies 20,3\d\d days from all the rest of the log \(2025-10-",
        ),
        (3, 0, r"1970-01-01 00:00 UTC and 2 more events before it lie 20,3\d\d days"),
        (1, START + 30 * DAY, r"at 2025-11-08 08:53 UTC lies 27 days from all the rest"),
        (1, START * 1000, r"at 57742-03-07 08:53 UTC lies"),
        (2, START + 30 * DAY, r"and 1 more events after it lie 27 days"),
        (400, 1_759_000_000, r"at 1970-01-21 08:36 UTC and 399 more events before it lie 20,3\d\d days"),  # seconds
    ],
)
def test_events_far_from_all_others_are_refused_by_name(
    events: int, time_ms: int, said: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "CHUNK", chunk)
    with pytest.raises(FitError, match=said):
        prepared(moved(planted(users=6), events, time_ms))


def test_pauses_of_a_log_are_no_wrong_times() -> None:
    data = planted(users=6)
    check_times(EventLog.from_dataset(data))
    half = moved(data, len(data.events) // 2, START - 30 * DAY)  # as much on either side: two logs, not a wrong clock
    check_times(EventLog.from_dataset(half))
    check_times(EventLog.from_dataset(moved(data, 1, START - DAY)))
    check_times(EventLog.from_dataset(checked(data.users, data.media, data.events.head(1), name="one event")))


def test_a_window_without_impressions_is_named_before_anything_is_trained() -> None:
    data = planted(users=6)
    with pytest.raises(
        FitError, match=r"the validation window, .* has 0 impressions.* ends with the event of user 'u3'"
    ):
        prepared(moved(data, 1, data.as_of_ms + 36 * HOUR))
    late = replace(data, as_of_ms=data.as_of_ms + 24 * HOUR)
    with pytest.raises(FitError, match=r"the test window, .* has 0 impressions, fewer than 10"):
        prepared(late)


def test_only_impressions_count() -> None:
    data = planted(users=6)
    log = EventLog.from_dataset(data)
    check_windows(log, {"whole": (START, data.as_of_ms)})
    actions = data.events.filter(pl.col("action") != "impression")
    assert (EventLog.from_dataset(data).action_E != Action.IMPRESSION).any()
    with pytest.raises(FitError, match=r"the whole window, .* has 0 impressions"):
        check_windows(
            EventLog.from_dataset(checked(data.users, data.media, actions, name="actions")),
            {"whole": (START, data.as_of_ms)},
        )


def test_an_embedding_window_without_positives_teaches_nothing() -> None:
    data = planted(users=6)
    early = pl.col("event_time").dt.epoch("ms") < START + 30 * HOUR
    shown = data.events.filter((pl.col("action") == "impression") | ~early)
    quiet = checked(data.users, data.media, shown, name="quiet")
    with pytest.raises(
        FitError, match=r"no account vector could be trained: the embedding window, .* has 0 positive actions"
    ):
        prepared(quiet).vectors()
