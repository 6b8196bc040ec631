"""Which events of a log show something to a user, to which request they belong, and what came of them: `labelled`, block by block.

An action is explained by an impression of the same user, so users are looked at some at a time and the log is never whole in
memory. Knows events; knows no features.

Shapes: E events of the log, X events of a block, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import TASKS, Action, action_name
from training.columns import blocks, grouped
from training.datasets.examples import DAY_MS, labelled
from training.errors import FitError
from training.event_log import NO_REQUEST, EventLog
from training.log_times import moment

Int64 = NDArray[np.int64]

NO_HEAD = -1
_ACTIONS = pl.Enum([action_name(action) for action in sorted(Action)])
_KEPT = ("user_id", "media_id", "event_time", "request_id", "place", "head")
_LONG_SHARE = (
    0.01  # of the impressions: so many may belong to requests that go on for longer than actions are waited for
)


@dataclass(frozen=True)
class Impressions:
    """Per event of a log, whether it is an impression that counts, and its labels."""

    # Place in the log of the first event of the same request; NO_HEAD for actions, and for impressions that were logged again in
    # the same request. An impression that names no request is a request of its own. The first event may be an action: where apps
    # log an impression once it leaves the screen, what the user did with it comes first, and a history must not know of it.
    head_E: Int64
    label_bits_E: NDArray[np.uint16]  # bit t for task t of features.actions.TASKS; 0 where head_E is NO_HEAD
    n_orphans: int  # actions that no impression explains
    n_repeats: int  # impressions logged again in the same request

    def labels(self, place_N: Int64) -> NDArray[np.float32]:
        """Labels of the impressions at these places, 0 or 1. Shape [N, T]."""
        task_T = np.arange(len(TASKS), dtype=np.uint16)
        return (self.label_bits_E[place_N][:, None] >> task_T & 1).astype(np.float32)


def impressions_of(log: EventLog, window_ms: int = DAY_MS) -> Impressions:
    """The impressions of the log; what explains what: see `training.datasets.examples.labelled`.

    Raises FitError, naming a user, when requests go on for longer than `window_ms`: examples are of the moment of their request.
    """
    head_E = log.scratch.empty((len(log),), np.int64)
    head_E[:] = NO_HEAD
    label_bits_E = log.scratch.zeros((len(log),), np.uint16)
    place_E, start_V = grouped(lambda of: log.user_E[of], 0, len(log), len(log.user_ids), log.scratch)
    orphans = repeats = 0
    long = _LongRequests(window_ms)
    for users in blocks(start_V):
        # A block's events in the order of the log: reading them then walks through every column once.
        place_X = np.sort(place_E[start_V[users.start] : start_V[users.stop]])
        found = labelled(_frame(log, place_X).with_columns(head=_head()), window_ms, _KEPT)
        long.count(found.frame)
        shown = found.frame.select("place", "head", bits=_bits())
        head_E[shown["place"].to_numpy()] = shown["head"].to_numpy()
        label_bits_E[shown["place"].to_numpy()] = shown["bits"].to_numpy()
        orphans, repeats = orphans + found.n_orphans, repeats + found.n_repeats
    long.refuse(log)
    return Impressions(head_E, label_bits_E, orphans, repeats)


class _LongRequests:
    """Requests that go on for longer than `window_ms`, of a log whose ids name a session or a device instead of a page."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._shown = self._long = 0
        self._example: tuple[int, int, int] | None = None  # user, first and last impression of one of them

    def count(self, shown: pl.DataFrame) -> None:
        """Takes the impressions of a block of users."""
        self._shown += len(shown)
        requests = shown.filter(pl.col("request_id").is_not_null()).group_by("user_id", "request_id")
        time_ms = pl.col("event_time").dt.epoch("ms")
        spans = requests.agg(pl.len(), first=time_ms.min(), last=time_ms.max())
        long = spans.filter(pl.col("last") - pl.col("first") > self._window_ms).sort("user_id", "first")
        self._long += int(long["len"].sum())
        if self._example is None and len(long):
            user, _, _, first, last = long.row(0)
            self._example = user, first, last

    def refuse(self, log: EventLog) -> None:
        """Raises FitError if more than stray impressions belong to such requests."""
        if self._example is None or self._long <= _LONG_SHARE * self._shown:
            return
        user, first, last = self._example
        raise FitError(
            f"column request_id: one request of user {log.user_ids[user]!r} shows media from {moment(first)} to {moment(last)}, "
            f"and {self._long:,} of {self._shown:,} impressions belong to requests that go on for longer than "
            f"{self._window_ms / 3_600_000:.0f} h. A request is one page, asked for at one moment: give every page an id of its "
            "own, or none"
        )


def _frame(log: EventLog, place_X: Int64) -> pl.DataFrame:
    """Columns as `labelled` reads them, with numbers for ids."""
    request_X = pl.Series(log.request_E[place_X])
    return pl.DataFrame(
        {
            "user_id": log.user_E[place_X],
            "media_id": log.media_id_E[place_X],
            "event_time": pl.Series(log.time_ms_E[place_X]).cast(pl.Datetime("ms")),
            "action": pl.Series(log.action_E[place_X] - min(Action)).cat.to(_ACTIONS),
            "request_id": request_X.set(request_X == NO_REQUEST, None),
            "place": place_X,
        }
    )


def _head() -> pl.Expr:
    of_request = pl.col("place").min().over("user_id", "request_id")
    return pl.when(pl.col("request_id").is_null()).then(pl.col("place")).otherwise(of_request)


def _bits() -> pl.Expr:
    return pl.sum_horizontal(pl.col(task.name).cast(pl.UInt16) * (1 << place) for place, task in enumerate(TASKS)).cast(
        pl.UInt16
    )
