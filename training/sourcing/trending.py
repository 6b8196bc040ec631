"""What is liked lately, by everybody and by each segment of users: value per impression inside windows that end with the log.

Knows what an action is worth (features/history.py); knows no requests. The formula is that of the trending order in serving, with
a window in place of counts that decay.

Shapes: M media, W windows, S segments, V users, A action codes, E events of a window, C media that may enter a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.history import ACTION_WEIGHT
from features.item_table import UNKNOWN_ROW, ItemTable
from features.view import PRIOR_IMPRESSIONS
from training.event_log import EventLog
from training.progress import Progress
from training.sourcing.config import SourcingConfig
from training.sourcing.lists import Lists
from training.sourcing.profiles import user_column

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_VALUE_A = np.array([ACTION_WEIGHT.get(Action(a), 0.0) if a else 0.0 for a in range(N_ACTIONS)])
_NO_SEGMENT = -1


@dataclass(frozen=True)
class Trends:
    """Values of all media per window, and the best media per segment."""

    windows_ms: tuple[int, ...]
    value_WM: Float32
    segments: tuple[str, ...]  # sorted
    liked: Lists  # media rows by segment, best first


def trends(
    log: EventLog, items: ItemTable, users: pl.DataFrame, config: SourcingConfig, progress: Progress | None = None
) -> Trends:
    """The trends as of `items.as_of_ms`: only events before it count. `progress` gets (windows and segments done, all)."""
    segments, segment_V = _segments(log, users)
    total, done = len(config.windows_ms) + len(segments), 0
    values: dict[int, Float64] = {}
    for window_ms in config.windows_ms:
        values[window_ms] = window_value(log, items, window_ms)
        done += 1
        if progress is not None:
            progress(done, total)
    longest_ms = max(config.windows_ms)
    window = _Window.before(log, items.as_of_ms, longest_ms)
    shown_C = np.unique(
        window.media_E
    )  # a media item that nobody met in the window has no trend, only the average's value
    newest_C = items.created_at_ms_M[shown_C]
    best: list[Int64] = []
    for segment, its in enumerate(window.by(segment_V[window.user_E], len(segments))):
        value_M = its.smoothed(values[longest_ms])
        best.append(_best(shown_C, value_M[shown_C], newest_C, config.per_segment))
        if progress is not None:
            progress(done + segment + 1, total)
    row_P = np.concatenate([np.empty(0, dtype=np.int64), *best])
    segment_P = np.repeat(np.arange(len(segments)), [len(rows) for rows in best])
    value_WM = np.stack([values[window_ms] for window_ms in config.windows_ms]).astype(np.float32)
    return Trends(config.windows_ms, value_WM, segments, Lists.of(segment_P, row_P, len(segments)))


def window_value(log: EventLog, items: ItemTable, window_ms: int) -> Float64:
    """Value per impression in [as_of - window, as_of), smoothed towards that of an average impression. Shape [M]."""
    average = float(items.base_rate_A @ _VALUE_A)
    return _Window.before(log, items.as_of_ms, window_ms).smoothed(np.full(len(items.media_id_M), average))


@dataclass(frozen=True)
class _Window:
    """E events on known media."""

    user_E: NDArray[np.int32]
    media_E: NDArray[np.int32]
    action_E: NDArray[np.uint8]

    @classmethod
    def before(cls, log: EventLog, as_of_ms: int, window_ms: int) -> _Window:
        of = slice(log.count_before(as_of_ms - window_ms), log.count_before(as_of_ms))
        return cls(log.user_E[of], log.media_row_E[of], log.action_E[of])._only(log.media_row_E[of] != UNKNOWN_ROW)

    def by(self, group_E: NDArray[np.integer], groups: int) -> list[_Window]:
        """One window per group; events of no group are left out."""
        order_E = np.argsort(group_E, kind="stable")
        bounds = np.searchsorted(group_E[order_E], np.arange(groups + 1))
        return [self._only(order_E[start:end]) for start, end in pairwise(bounds)]

    def smoothed(self, prior_M: Float64) -> Float64:
        """Value per impression, pulled to the prior where there are few impressions. Shape [M]."""
        value_M = np.bincount(self.media_E, weights=_VALUE_A[self.action_E], minlength=len(prior_M))
        shown_M = np.bincount(self.media_E[self.action_E == Action.IMPRESSION], minlength=len(prior_M))
        return (value_M + PRIOR_IMPRESSIONS * prior_M) / (shown_M + PRIOR_IMPRESSIONS)

    def _only(self, chosen_E: Int64 | NDArray[np.bool_]) -> _Window:
        return _Window(self.user_E[chosen_E], self.media_E[chosen_E], self.action_E[chosen_E])


def _segments(log: EventLog, users: pl.DataFrame) -> tuple[tuple[str, ...], Int64]:
    """The names of all segments, sorted, and the segment of every user number, _NO_SEGMENT for none. Shape [V]."""
    segment_V = user_column(log, users, "segment").cast(pl.String)
    segment_V = segment_V.replace({"": None})
    names = segment_V.drop_nulls().unique().sort()
    number_V = segment_V.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(_NO_SEGMENT)
    return tuple(names.to_list()), number_V.to_numpy()


def _best(row_C: NDArray[np.integer], value_C: Float64, created_ms_C: Int64, most: int) -> Int64:
    """The rows of the `most` highest values; of equals the newest first, then by row."""
    if len(row_C) > most:
        last = np.partition(value_C, len(value_C) - most)[len(value_C) - most]
        chosen_C = value_C >= last  # sorting a million media for every segment would take minutes
        row_C, value_C, created_ms_C = row_C[chosen_C], value_C[chosen_C], created_ms_C[chosen_C]
    return row_C[np.lexsort((row_C, -created_ms_C, -value_C))][:most].astype(np.int64)
