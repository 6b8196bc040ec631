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
from training.event_log import NO_REQUEST, EventLog

Int64 = NDArray[np.int64]

NO_HEAD = -1
_ACTIONS = pl.Enum([action_name(action) for action in sorted(Action)])
_KEPT = ("user_id", "media_id", "event_time", "request_id", "place")


@dataclass(frozen=True)
class Impressions:
    """Per event of a log, whether it is an impression that counts, and its labels."""

    # Place in the log of the first impression of the same request; NO_HEAD for actions, and for impressions that were logged
    # again in the same request. An impression that names no request is a request of its own.
    head_E: Int64
    label_bits_E: NDArray[np.uint16]  # bit t for task t of features.actions.TASKS; 0 where head_E is NO_HEAD
    n_orphans: int  # actions that no impression explains
    n_repeats: int  # impressions logged again in the same request

    def labels(self, place_N: Int64) -> NDArray[np.float32]:
        """Labels of the impressions at these places, 0 or 1. Shape [N, T]."""
        task_T = np.arange(len(TASKS), dtype=np.uint16)
        return (self.label_bits_E[place_N][:, None] >> task_T & 1).astype(np.float32)


def impressions_of(log: EventLog, window_ms: int = DAY_MS) -> Impressions:
    """The impressions of the log; what explains what: see `training.datasets.examples.labelled`."""
    head_E = log.scratch.empty((len(log),), np.int64)
    head_E[:] = NO_HEAD
    label_bits_E = log.scratch.zeros((len(log),), np.uint16)
    place_E, start_V = grouped(lambda of: log.user_E[of], 0, len(log), len(log.user_ids), log.scratch)
    orphans = repeats = 0
    for users in blocks(start_V):
        # A block's events in the order of the log: reading them then walks through every column once.
        place_X = np.sort(place_E[start_V[users.start] : start_V[users.stop]])
        found = labelled(_frame(log, place_X), window_ms, _KEPT)
        shown = found.frame.select("place", head=_head(), bits=_bits())
        head_E[shown["place"].to_numpy()] = shown["head"].to_numpy()
        label_bits_E[shown["place"].to_numpy()] = shown["bits"].to_numpy()
        orphans, repeats = orphans + found.n_orphans, repeats + found.n_repeats
    return Impressions(head_E, label_bits_E, orphans, repeats)


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
