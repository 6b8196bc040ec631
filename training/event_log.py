"""The events of a dataset as sorted numpy columns, made once and read by every step of training.

Knows numbers and rows instead of ids; knows nothing of features, requests or labels.

Shapes: E events in time order, M media, U accounts (authors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import POSITIVE_ACTIONS, Action, action_name
from features.item_table import UNKNOWN_ROW
from training.datasets import Dataset

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_CODES = {action_name(action): int(action) for action in Action}
_POSITIVE = np.array(sorted(POSITIVE_ACTIONS), dtype=np.uint8)


@dataclass(frozen=True)
class EventLog:
    """E events in time order; events of one moment keep the order in which they were logged.

    User numbers, media rows and account rows count the sorted ids, so that rows are those of every item table of the dataset.
    """

    user_ids: tuple[str, ...]  # sorted; a user's number is its place here
    media_id_M: Int64  # sorted
    account_id_U: Int64  # sorted
    user_E: Int32
    media_id_E: Int64
    author_id_E: Int64
    media_row_E: Int32  # UNKNOWN_ROW for media that the media table does not hold
    author_row_E: Int32  # UNKNOWN_ROW for authors without media
    action_E: NDArray[np.uint8]
    time_ms_E: Int64

    def __len__(self) -> int:
        return len(self.time_ms_E)

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> EventLog:
        """The log of a validated dataset. Raises polars.exceptions.InvalidOperationError for an unknown action name."""
        events = dataset.events.sort("event_time", maintain_order=True)
        user_ids = user_numbering(dataset)
        media_id_M = np.unique(dataset.media["media_id"].to_numpy()).astype(np.int64)
        account_id_U = np.unique(dataset.media["author_id"].to_numpy()).astype(np.int64)
        media_id_E = events["media_id"].to_numpy().astype(np.int64)
        author_id_E = events["author_id"].to_numpy().astype(np.int64)
        return cls(
            user_ids=user_ids,
            media_id_M=media_id_M,
            account_id_U=account_id_U,
            user_E=user_numbers(events["user_id"], user_ids),
            media_id_E=media_id_E,
            author_id_E=author_id_E,
            media_row_E=sorted_rows(media_id_M, media_id_E),
            author_row_E=sorted_rows(account_id_U, author_id_E),
            action_E=events["action"].replace_strict(_CODES, return_dtype=pl.UInt8).to_numpy(),
            time_ms_E=events["event_time"].dt.epoch("ms").to_numpy().astype(np.int64),
        )

    def count_before(self, time_ms: int) -> int:
        """How many events happened before `time_ms`: they are the first ones of every column."""
        return int(np.searchsorted(self.time_ms_E, time_ms))

    def positives_before(self, time_ms: int) -> Int64:
        """Places in the log of the positive actions before `time_ms`, in time order. Shape [P]."""
        return np.flatnonzero(np.isin(self.action_E[: self.count_before(time_ms)], _POSITIVE))


def user_numbering(dataset: Dataset) -> tuple[str, ...]:
    """All users of the users table and of the events, sorted: a user's number is its place."""
    ids = pl.concat([dataset.users["user_id"], dataset.events["user_id"].unique()])
    return tuple(ids.unique().sort().to_list())


def user_numbers(user_id_X: pl.Series, user_ids: tuple[str, ...]) -> Int32:
    """The number of every user id. Shape [X]. Raises polars.exceptions.InvalidOperationError for an id that has none."""
    return user_id_X.cast(pl.Enum(list(user_ids))).to_physical().to_numpy().astype(np.int32)


def sorted_rows(sorted_ids: Int64, wanted_X: Int64) -> Int32:
    """The place of every id in `sorted_ids`, UNKNOWN_ROW for ids that are not there. Shape [X]."""
    if len(sorted_ids) == 0:
        return np.full(len(wanted_X), UNKNOWN_ROW, dtype=np.int32)
    place_X = np.minimum(np.searchsorted(sorted_ids, wanted_X), len(sorted_ids) - 1)
    return np.where(sorted_ids[place_X] == wanted_X, place_X, UNKNOWN_ROW).astype(np.int32)
