"""The label join: by request where there is one, by time where there is not, and the same as a loop in plain Python."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import TASKS
from tests.training.datasets.frames import at
from training.datasets.conform import conform
from training.datasets.contract import EVENTS
from training.datasets.examples import impressions, labelled

WINDOW_MS = 10


class Row(NamedTuple):
    time: int
    action: str
    request: str | None = None
    user: str = "1"
    media: int = 1


def log(*rows: Row) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "user_id": [row.user for row in rows],
            "media_id": [row.media for row in rows],
            "author_id": [1 for _ in rows],
            "event_time": at(*(row.time for row in rows)),
            "action": [row.action for row in rows],
            "request_id": pl.Series([row.request for row in rows], dtype=pl.String),
        }
    )
    return conform(frame, EVENTS, "events.parquet").frame


def clicks(*rows: Row) -> list[bool]:
    return impressions(log(*rows), WINDOW_MS)["click"].to_list()


def by_hand(rows: list[Row]) -> tuple[list[dict[str, Any]], int, int]:
    """Labels per impression in time order, orphans, repeats: the definition, one action at a time."""
    ordered = sorted(rows, key=lambda row: row.time)
    logged = [row for row in ordered if row.action == "impression"]
    keys = [(row.user, row.media, row.request) for row in logged]
    shown = [row for i, row in enumerate(logged) if row.request is None or keys[i] not in keys[:i]]
    labels = [{task.name: False for task in TASKS} for _ in shown]
    orphans = 0
    for act in ordered:
        tasks = [task.name for task in TASKS if act.action in {a.name.lower() for a in task.actions}]
        same = [i for i, row in enumerate(shown) if (row.user, row.media) == (act.user, act.media)]
        hits = [i for i in same if act.request is not None and shown[i].request == act.request] or [
            i
            for i in same
            if (act.request is None or shown[i].request is None) and 0 <= act.time - shown[i].time <= WINDOW_MS
        ]
        orphans += bool(tasks) and not hits
        for task in tasks if hits else ():
            labels[hits[-1]][task] = True
    return labels, orphans, len(logged) - len(shown)


rows = st.builds(
    Row,
    time=st.integers(0, 30),
    action=st.sampled_from(["impression", "impression", "click", "like", "hide", "report", "dwell"]),
    request=st.sampled_from([None, "a", "b"]),
    user=st.sampled_from(["1", "2"]),
    media=st.integers(1, 2),
)


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=25))
def test_the_join_is_that_of_a_plain_loop(log_rows: list[Row]) -> None:
    result = labelled(log(*log_rows), WINDOW_MS)
    labels, orphans, repeats = by_hand(log_rows)
    assert result.frame.select(task.name for task in TASKS).to_dicts() == labels
    assert (result.n_orphans, result.n_repeats) == (orphans, repeats)
    assert result.frame["event_time"].is_sorted()


def test_an_action_counts_for_its_own_request() -> None:
    assert clicks(Row(0, "impression", "a"), Row(1, "impression", "b"), Row(2, "click", "a")) == [True, False]


def test_without_a_request_the_last_impression_counts() -> None:
    assert clicks(Row(0, "impression"), Row(1, "impression"), Row(2, "click")) == [False, True]


def test_an_impression_at_the_moment_of_the_action_is_not_too_late() -> None:
    assert clicks(Row(2, "impression"), Row(2, "click")) == [True]


def test_an_action_after_the_window_is_an_orphan() -> None:
    assert clicks(Row(0, "impression"), Row(WINDOW_MS, "click")) == [True]
    assert labelled(log(Row(0, "impression"), Row(WINDOW_MS + 1, "click")), WINDOW_MS).n_orphans == 1


def test_a_different_request_is_no_explanation() -> None:
    assert labelled(log(Row(0, "impression", "a"), Row(1, "click", "b"))).n_orphans == 1


def test_an_impression_logged_twice_in_a_request_is_one_row() -> None:
    result = labelled(log(Row(0, "impression", "a"), Row(5, "impression", "a"), Row(6, "like", "a")))
    assert result.frame["event_time"].to_list() == at(0).to_list()
    assert (result.frame["like"].to_list(), result.n_repeats) == ([True], 1)


@pytest.mark.parametrize("action", ["hide", "report"])
def test_hides_and_reports_are_both_negative(action: str) -> None:
    assert impressions(log(Row(0, "impression"), Row(1, action)))["negative"].to_list() == [True]


def test_a_log_without_impressions_gives_no_rows_and_all_columns() -> None:
    result = labelled(log(Row(0, "click")))
    assert (len(result.frame), result.n_orphans) == (0, 1)
    assert result.frame.columns[-len(TASKS) :] == [task.name for task in TASKS]
