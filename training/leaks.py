"""Does a feature look ahead? What it says of a moment must not change when all that came later is taken away or mixed up.

Knows data sets and columns; how a column is computed is the caller's business.

Shapes: N candidates, F columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.assemble import assemble, candidate_view
from features.context import LONG_HISTORY_LENGTH
from features.dense import FEATURES
from features.schema import Feature
from training.contexts import ContextLog
from training.datasets import Dataset
from training.errors import LeakError
from training.event_log import EventLog, sorted_rows
from training.snapshots import ItemTables, ItemVectors

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Columns = Callable[[Dataset], Float32]

_SAME = 1e-6  # relative: sums over other events may round differently


def leaking_features(columns: Columns, names: Sequence[str], dataset: Dataset, time_ms: int) -> tuple[str, ...]:
    """Names of the columns that know something of `time_ms` or later.

    `columns` computes [N, F], F as in `names`, for the same candidates at `time_ms` from whatever data set it is given. It gets
    the whole one, one whose events end before `time_ms`, and one whose later actions are done by others. A column
    that was computed elsewhere and only joined cannot be judged this way: compute it here.
    Raises ValueError when the columns are not those named.
    """
    asked_NF = columns(dataset)
    if asked_NF.ndim != 2 or asked_NF.shape[1] != len(names):
        raise ValueError(f"columns() returned shape {asked_NF.shape} for {len(names)} names")
    changed_F = np.zeros(len(names), dtype=np.bool_)
    for other in (_without_future(dataset, time_ms), _with_mixed_future(dataset, time_ms)):
        found_NF = columns(other)
        changed_F |= ~np.isclose(asked_NF, found_NF, rtol=_SAME, atol=_SAME, equal_nan=True).all(axis=0)
    return tuple(name for name, changed in zip(names, changed_F, strict=True) if changed)


def check_leaks(columns: Columns, names: Sequence[str], dataset: Dataset, time_ms: int) -> None:
    """Raises LeakError naming every column that `leaking_features` finds."""
    found = leaking_features(columns, names, dataset, time_ms)
    if found:
        raise LeakError(found)


def dense_columns(
    user_ids: Sequence[str],
    media_id_N: Int64,
    time_ms: int,
    features: Sequence[Feature] = FEATURES,
    vectors: ItemVectors | None = None,
) -> Columns:
    """The dense features [N, F] of pairs of a user and a media item at one moment, for `leaking_features`.

    The item table is the one of that very moment, so that nothing hides behind an older snapshot. Without `vectors`, which are
    trained on a window of their own, affinities are missing.
    """

    def columns(dataset: Dataset) -> Float32:
        log = EventLog.from_dataset(dataset)
        items = ItemTables(log, dataset.media, vectors or ItemVectors.zeros(log)).as_of(time_ms)
        number = {name: place for place, name in enumerate(log.user_ids)}
        user_N = np.array([number[name] for name in user_ids], dtype=np.int64)
        time_ms_N = np.full(len(user_ids), time_ms, dtype=np.int64)
        contexts = ContextLog(log, dataset.users).at(user_N, time_ms_N, [""] * len(user_ids), LONG_HISTORY_LENGTH)
        row_N = sorted_rows(items.media_id_M, media_id_N).astype(np.int64)
        return assemble(candidate_view(contexts, items, row_N, np.arange(len(row_N), dtype=np.int64)), features)

    return columns


def _without_future(dataset: Dataset, time_ms: int) -> Dataset:
    past, future = _cut(dataset, time_ms)
    # Users that are known from later events only stay known, with a profile that says nothing.
    missing = future.select("user_id").unique().join(dataset.users, on="user_id", how="anti")
    users = pl.concat([dataset.users, missing.sort("user_id")], how="diagonal")
    return replace(dataset, events=past, users=users)


def _with_mixed_future(dataset: Dataset, time_ms: int) -> Dataset:
    """Later events keep their times and their users; what was done, and with which media, goes to somebody else."""
    past, future = _cut(dataset, time_ms)
    theirs = pl.Series(np.random.default_rng(0).permutation(len(future)))
    columns = ["media_id", "author_id", "action"]
    mixed = future.with_columns(future.select(columns)[theirs])
    return replace(dataset, events=pl.concat([past, mixed]))


def _cut(dataset: Dataset, time_ms: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    later = pl.col("event_time").dt.epoch("ms") >= time_ms
    return dataset.events.filter(~later), dataset.events.filter(later)
