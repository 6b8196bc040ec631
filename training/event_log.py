"""The events of a dataset as sorted numpy columns, made once and read by every step of training.

Knows numbers and rows instead of ids; knows nothing of features or labels. The columns of a log that is larger than the budget of
its scratch lie in files: whoever reads them does so a chunk at a time.

Shapes: E events in time order, M media, U accounts (authors).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import POSITIVE_ACTIONS, Action, action_name
from features.item_table import UNKNOWN_ROW
from training.columns import CHUNK, Scratch, chunks, gathered, places_where, time_order
from training.datasets import Dataset

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NO_REQUEST = 0
NO_SURFACE = -1

_CODES = {action_name(action): int(action) for action in Action}
POSITIVE = np.array(sorted(POSITIVE_ACTIONS), dtype=np.uint8)


@dataclass(frozen=True)
class EventLog:
    """E events in time order; events of one moment keep the order in which they were logged.

    User numbers, media rows and account rows count the sorted ids, so that rows are those of every item table of the dataset.
    """

    user_ids: tuple[str, ...]  # sorted; a user's number is its place here
    media_id_M: Int64  # sorted
    account_id_U: Int64  # sorted
    surfaces: tuple[str, ...]  # in the order in which they first occur in the file
    user_E: Int32
    media_id_E: Int64
    author_id_E: Int64
    media_row_E: Int32  # UNKNOWN_ROW for media that the media table does not hold
    author_row_E: Int32  # UNKNOWN_ROW for authors without media
    action_E: NDArray[np.uint8]
    time_ms_E: Int64
    # A hash of the request id, NO_REQUEST for none. Read together with the user: two of one user's n requests are taken for
    # one with a probability of n^2 / 2^65.
    request_E: NDArray[np.uint64]
    position_E: NDArray[np.float32]  # NaN for none
    surface_E: Int32  # number of the name in `surfaces`, NO_SURFACE for none
    scratch: Scratch = field(default_factory=Scratch, repr=False)  # for whatever else is as long as the log

    def __len__(self) -> int:
        return len(self.time_ms_E)

    @classmethod
    def from_dataset(cls, dataset: Dataset, scratch: Scratch | None = None) -> EventLog:
        """The log of a validated dataset. Raises polars.exceptions.InvalidOperationError for an unknown action name."""
        parts = dataset.events.iter_slices(CHUNK)
        return cls.from_parts(parts, len(dataset.events), user_numbering(dataset), dataset.media, scratch)

    @classmethod
    def from_parts(
        cls,
        parts: Iterable[pl.DataFrame],
        events: int,
        user_ids: tuple[str, ...],
        media: pl.DataFrame,
        scratch: Scratch | None = None,
    ) -> EventLog:
        """The log of validated parts that hold so many `events` together, in any order of time.

        Raises polars.exceptions.InvalidOperationError for an unknown action name or user.
        """
        scratch = scratch or Scratch()
        media_id_M = np.unique(media["media_id"].to_numpy()).astype(np.int64)
        account_id_U = np.unique(media["author_id"].to_numpy()).astype(np.int64)
        made = cls(
            user_ids,
            media_id_M,
            account_id_U,
            (),
            **{name: scratch.empty((events,), dtype) for name, dtype in _COLUMNS.items()},
            scratch=scratch,
        )
        users, surfaces, done = pl.Enum(list(user_ids)), dict[str, int](), 0
        for part in parts:
            made._fill(slice(done, done + len(part)), part, users, surfaces)
            done += len(part)
        return replace(made._in_time_order(), surfaces=tuple(surfaces))

    def count_before(self, time_ms: int) -> int:
        """How many events happened before `time_ms`: they are the first ones of every column."""
        return int(np.searchsorted(self.time_ms_E, time_ms))

    def positives_before(self, time_ms: int) -> Int64:
        """Places in the log of the positive actions before `time_ms`, in time order. Shape [P]."""
        return places_where(lambda of: np.isin(self.action_E[of], POSITIVE), 0, self.count_before(time_ms))

    def has_positions(self) -> bool:
        """Whether any event says at which place of the page it happened."""
        return any(not np.isnan(self.position_E[of]).all() for of in chunks(0, len(self)))

    def _fill(self, of: slice, part: pl.DataFrame, users: pl.Enum, surfaces: dict[str, int]) -> None:
        self.user_E[of] = part["user_id"].cast(users).to_physical().to_numpy()
        self.media_id_E[of], self.author_id_E[of] = part["media_id"].to_numpy(), part["author_id"].to_numpy()
        self.media_row_E[of] = sorted_rows(self.media_id_M, self.media_id_E[of])
        self.author_row_E[of] = sorted_rows(self.account_id_U, self.author_id_E[of])
        self.action_E[of] = part["action"].replace_strict(_CODES, return_dtype=pl.UInt8).to_numpy()
        self.time_ms_E[of] = part["event_time"].dt.epoch("ms").to_numpy()
        hash_X = np.maximum(part["request_id"].hash(seed=0).to_numpy(), NO_REQUEST + 1)
        self.request_E[of] = np.where(part["request_id"].is_null().to_numpy(), NO_REQUEST, hash_X)
        self.position_E[of] = part["position"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
        for name in part["surface"].drop_nulls().unique(maintain_order=True):
            surfaces.setdefault(name, len(surfaces))
        numbers = part["surface"].replace_strict(surfaces, default=NO_SURFACE, return_dtype=pl.Int32)
        self.surface_E[of] = numbers.fill_null(NO_SURFACE).to_numpy()

    def _in_time_order(self) -> EventLog:
        time_ms_E = self.time_ms_E
        if all((np.diff(time_ms_E[max(of.start - 1, 0) : of.stop]) >= 0).all() for of in chunks(0, len(self))):
            return self
        place_E = time_order(time_ms_E, self.scratch)
        columns: dict[str, Any] = {name: gathered(getattr(self, name), place_E, self.scratch) for name in _COLUMNS}
        return replace(self, **columns)


_COLUMNS = {
    "user_E": np.int32,
    "media_id_E": np.int64,
    "author_id_E": np.int64,
    "media_row_E": np.int32,
    "author_row_E": np.int32,
    "action_E": np.uint8,
    "time_ms_E": np.int64,
    "request_E": np.uint64,
    "position_E": np.float32,
    "surface_E": np.int32,
}


def user_numbering(dataset: Dataset) -> tuple[str, ...]:
    """All users of the users table and of the events, sorted: a user's number is its place."""
    ids = pl.concat([dataset.users["user_id"], dataset.events["user_id"].unique()])
    return tuple(ids.unique().sort().to_list())


def sorted_rows(sorted_ids: Int64, wanted_X: Int64) -> Int32:
    """The place of every id in `sorted_ids`, UNKNOWN_ROW for ids that are not there. Shape [X]."""
    if len(sorted_ids) == 0:
        return np.full(len(wanted_X), UNKNOWN_ROW, dtype=np.int32)
    place_X = np.minimum(np.searchsorted(sorted_ids, wanted_X), len(sorted_ids) - 1)
    return np.where(sorted_ids[place_X] == wanted_X, place_X, UNKNOWN_ROW).astype(np.int32)
