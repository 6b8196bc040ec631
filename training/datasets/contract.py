"""The data contract as three tables of columns. Knows names, types and ranges; reads and checks nothing itself.

A data set is a directory with `users.parquet`, `media.parquet`, `events.parquet`, `dataset.json` and, when simulated, `truth/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import polars as pl

from features.item_table import MAX_POLICY_FLAGS

CONTRACT_VERSION = 1
INFO_FILE = "dataset.json"
TRUTH_DIR = "truth"
TIME = pl.Datetime("ms", "UTC")


class Presence(Enum):
    """What a column may lack."""

    REQUIRED = "has a value in every row"
    NULLABLE = "may hold nulls; a missing column is filled with them"
    OPTIONAL = "may be absent, and stays so"


@dataclass(frozen=True)
class Column:
    """One column: its type as stored, and the values that it accepts."""

    name: str
    dtype: pl.DataType
    presence: Presence = Presence.NULLABLE
    low: float | None = None
    high: float | None = None
    low_is_out: bool = False  # the range is (low, high] rather than [low, high]
    unique: bool = False  # no value occurs in two rows; nulls may
    max_names: int | None = None  # of a list of names: how many different ones the whole column may hold

    def range_text(self) -> str:
        """The range in interval notation, for messages."""
        low = "(-inf" if self.low is None else f"{'(' if self.low_is_out else '['}{self.low:g}"
        return f"{low}, {'inf)' if self.high is None else f'{self.high:g}]'}"


@dataclass(frozen=True)
class Table:
    """One Parquet file."""

    name: str
    columns: tuple[Column, ...]
    key: str | None = None  # a column whose values are unique

    @property
    def file(self) -> str:
        return f"{self.name}.parquet"


_NEEDED, _OPTIONAL = Presence.REQUIRED, Presence.OPTIONAL

USERS = Table(
    "users",
    key="user_id",
    columns=(
        Column("user_id", pl.String(), _NEEDED),
        Column("registered_at", TIME),
        Column("n_following", pl.Int64(), low=0),
        Column("n_followers", pl.Int64(), low=0),
        Column("segment", pl.String()),
        Column("account_id", pl.Int64(), low=1, unique=True),  # under which the user posts; an author_id of the media
    ),
)

MEDIA = Table(
    "media",
    key="media_id",
    columns=(
        Column("media_id", pl.Int64(), _NEEDED, low=1),
        Column("author_id", pl.Int64(), _NEEDED, low=1),
        Column("created_at", TIME, _NEEDED),
        Column("duration_ms", pl.Int64(), low=0),
        Column("topic", pl.String()),
        # The integrity model's probability that the media must not be recommended.
        Column("non_recommendable_score", pl.Float32(), low=0, high=1),
        # What content policy says about the media, in the platform's own words: "nudity", "graphic", "unoriginal".
        Column("policy_flags", pl.List(pl.String()), _OPTIONAL, max_names=MAX_POLICY_FLAGS),
        Column("tags", pl.List(pl.String()), _OPTIONAL),
        Column("text", pl.String(), _OPTIONAL),
        Column("embedding", pl.List(pl.Float32()), _OPTIONAL),  # of one length throughout
    ),
)

EVENTS = Table(
    "events",
    columns=(
        Column("user_id", pl.String(), _NEEDED),
        Column("media_id", pl.Int64(), _NEEDED, low=1),
        Column("author_id", pl.Int64(), _NEEDED, low=1),
        Column("event_time", TIME, _NEEDED),
        Column("action", pl.String(), _NEEDED),  # a name of features.actions
        Column("value", pl.Float32(), low=0),  # of a dwell event: milliseconds
        Column("request_id", pl.String()),
        Column("position", pl.Int32(), low=0),  # in the slate, from 0 (training.log_positions)
        Column("surface", pl.String()),
        Column("propensity", pl.Float32(), low=0, high=1, low_is_out=True),
    ),
)

TABLES: tuple[Table, ...] = (USERS, MEDIA, EVENTS)
