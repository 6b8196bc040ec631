"""Joins actions to the impressions that caused them: one labelled row per impression. Knows events, and no features.

The join is that of a log, not of a serving process: labels may come from after the impression, never from before it
unless the request id says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from features.actions import TASKS, Action, Task, action_name

DAY_MS = 24 * 60 * 60 * 1000

_PAIR = ["user_id", "media_id"]
_COLUMNS = (*_PAIR, "author_id", "event_time", "request_id", "position", "surface", "propensity")
_TASK_ACTIONS = [action_name(action) for task in TASKS for action in sorted(task.actions)]


@dataclass(frozen=True)
class Labelled:
    """Impressions with labels, and what did not become one."""

    frame: pl.DataFrame  # by event_time; the columns of an impression and one Boolean column per task
    n_orphans: int  # actions that no impression explains
    n_repeats: int  # impressions logged again in the same request


def impressions(events: pl.DataFrame, window_ms: int = DAY_MS) -> pl.DataFrame:
    """The labelled impressions alone; see `labelled`."""
    return labelled(events, window_ms).frame


def labelled(events: pl.DataFrame, window_ms: int = DAY_MS, columns: Sequence[str] = _COLUMNS) -> Labelled:
    """One row per impression of a conformed events table, labelled for every task of features.actions; with its `columns`.

    An action counts for the impression of its user, media and request; where either carries no request id, for the last
    impression of the user and media that is at most `window_ms` older. Dwell events label nothing.
    """
    in_time_order = events.sort("event_time", maintain_order=True)
    is_impression = pl.col("action") == action_name(Action.IMPRESSION)
    logged = in_time_order.filter(is_impression).select(columns)
    shown = _first_of_each_request(logged).with_row_index("row")
    actions = in_time_order.filter(pl.col("action").is_in(_TASK_ACTIONS)).select(
        *_PAIR, "request_id", "event_time", "action"
    )
    caused = _join(actions, shown, window_ms)
    frame = shown.with_columns(_label(task, caused) for task in TASKS).drop("row")
    return Labelled(frame, n_orphans=len(actions) - len(caused), n_repeats=len(logged) - len(shown))


def _first_of_each_request(logged: pl.DataFrame) -> pl.DataFrame:
    key = pl.struct(*_PAIR, "request_id")
    return logged.filter(pl.col("request_id").is_null() | key.is_first_distinct())


def _join(actions: pl.DataFrame, shown: pl.DataFrame, window_ms: int) -> pl.DataFrame:
    """Columns row (of `shown`) and action, for the actions that an impression explains."""
    keyed = shown.filter(pl.col("request_id").is_not_null()).select(*_PAIR, "request_id", "row")
    matched = actions.join(keyed, on=[*_PAIR, "request_id"], how="left", maintain_order="left")
    by_request = matched.filter(pl.col("row").is_not_null())
    left = matched.filter(pl.col("row").is_null()).drop("row")
    # Two request ids that differ are two requests: an action with one may only fall back to impressions without any.
    unkeyed = shown.filter(pl.col("request_id").is_null())
    by_time = [
        _as_of(left.filter(pl.col("request_id").is_null()), shown, window_ms),
        _as_of(left.filter(pl.col("request_id").is_not_null()), unkeyed, window_ms),
    ]
    return pl.concat(frame.select("row", "action") for frame in (by_request, *by_time))


def _as_of(actions: pl.DataFrame, shown: pl.DataFrame, window_ms: int) -> pl.DataFrame:
    return actions.join_asof(
        shown.select(*_PAIR, "event_time", "row"),
        on="event_time",
        by=_PAIR,
        strategy="backward",
        tolerance=f"{window_ms}ms",
        check_sortedness=False,  # both sides are in time order; polars cannot see it within groups
    ).filter(pl.col("row").is_not_null())


def _label(task: Task, caused: pl.DataFrame) -> pl.Expr:
    names = [action_name(action) for action in task.actions]
    rows = caused.filter(pl.col("action").is_in(names))["row"].unique()
    return pl.col("row").is_in(rows.implode()).alias(task.name)
