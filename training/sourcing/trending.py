"""What is liked lately, by everybody and by each segment of users: value per impression inside windows that end with the log.

Knows what an action is worth (features/history.py); knows no requests. The formula is that of the trending order in serving, with
a window in place of counts that decay.

Shapes: M media, W windows, S segments, V users, A action codes, E events of a window, C media that may enter a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.history import ACTION_WEIGHT
from features.item_table import UNKNOWN_ROW, ItemTable
from features.view import PRIOR_IMPRESSIONS
from training.columns import NO_GROUP, chunks, grouped
from training.event_log import EventLog
from training.progress import Progress
from training.sourcing.config import SourcingConfig
from training.sourcing.lists import Lists
from training.sourcing.profiles import user_column

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_VALUE_A = np.array([ACTION_WEIGHT.get(Action(a), 0.0) if a else 0.0 for a in range(N_ACTIONS)])


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
    of_window = _span(log, items.as_of_ms, longest_ms)
    # A media item that nobody met in the window has no trend, only the average's value.
    shown_C = np.flatnonzero(_counts(log, chunks(of_window.start, of_window.stop)).any(axis=1))
    newest_C = items.created_at_ms_M[shown_C]
    best: list[Int64] = []
    place_E, start_S = grouped(
        lambda of: segment_V[log.user_E[of]], of_window.start, of_window.stop, len(segments), log.scratch
    )
    for segment in range(len(segments)):
        own = (place_E[of] for of in chunks(int(start_S[segment]), int(start_S[segment + 1])))
        value_M = _smoothed(_counts(log, own), values[longest_ms])
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
    of = _span(log, items.as_of_ms, window_ms)
    return _smoothed(_counts(log, chunks(of.start, of.stop)), np.full(len(items.media_id_M), average))


def _span(log: EventLog, as_of_ms: int, window_ms: int) -> slice:
    return slice(log.count_before(as_of_ms - window_ms), log.count_before(as_of_ms))


def _counts(log: EventLog, parts: Iterable[slice | Int64]) -> Int64:
    """How often each action was done to each known media item in parts of the log. Shape [M, A]."""
    shape = (len(log.media_id_M), N_ACTIONS)
    count_X = np.zeros(shape[0] * shape[1], dtype=np.int64)
    for of in parts:
        media_E, action_E = log.media_row_E[of].astype(np.int64), log.action_E[of]
        known_E = media_E != UNKNOWN_ROW
        count_X += np.bincount(media_E[known_E] * N_ACTIONS + action_E[known_E], minlength=len(count_X))
    return count_X.reshape(shape)


def _smoothed(count_MA: Int64, prior_M: Float64) -> Float64:
    """Value per impression, pulled to the prior where there are few impressions. Shape [M]."""
    shown_M = count_MA[:, Action.IMPRESSION]
    value_M: Float64 = (count_MA @ _VALUE_A + PRIOR_IMPRESSIONS * prior_M) / (shown_M + PRIOR_IMPRESSIONS)
    return value_M


def _segments(log: EventLog, users: pl.DataFrame) -> tuple[tuple[str, ...], Int64]:
    """The names of all segments, sorted, and the segment of every user number, NO_GROUP for none. Shape [V]."""
    segment_V = user_column(log, users, "segment").cast(pl.String)
    segment_V = segment_V.replace({"": None})
    names = segment_V.drop_nulls().unique().sort()
    number_V = segment_V.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(NO_GROUP)
    return tuple(names.to_list()), number_V.to_numpy()


def _best(row_C: NDArray[np.integer], value_C: Float64, created_ms_C: Int64, most: int) -> Int64:
    """The rows of the `most` highest values; of equals the newest first, then by row."""
    if len(row_C) > most:
        last = np.partition(value_C, len(value_C) - most)[len(value_C) - most]
        chosen_C = value_C >= last  # sorting a million media for every segment would take minutes
        row_C, value_C, created_ms_C = row_C[chosen_C], value_C[chosen_C], created_ms_C[chosen_C]
    return row_C[np.lexsort((row_C, -created_ms_C, -value_C))][:most].astype(np.int64)
