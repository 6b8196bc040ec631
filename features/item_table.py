"""Item features as columns, memory-mapped in serving. Knows nothing of users, and cannot change: a new snapshot is a new table.

Shapes: M media, U accounts (authors), A action codes, D media vector, E account vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt32 = NDArray[np.uint32]

UNKNOWN_ROW = -1  # a media item or account that the table does not hold
UNKNOWN_TOPIC = -1
MAX_SURFACES = 8  # surfaces that rankers tell apart; the names of rarer ones are not kept
MAX_POLICY_FLAGS = 32  # names of policy flags in one table: a media item's flags are the bits of one uint32
_MANY = 32  # ids from which on sorting them pays
_META = "table.json"
_META_FIELDS = ("as_of_ms", "topics", "policy_flags", "surfaces")


@dataclass(frozen=True)
class ItemTable:
    """Everything the stages know about media and their authors, as of one moment.

    `media_id_M` and `account_id_U` are sorted ascending; a row number is the key everywhere else. Counters count events before
    `as_of_ms`; `recent` counters halve every `features.counters.HALF_LIFE_MS`. NaN marks a missing float.
    """

    as_of_ms: int
    topics: tuple[str, ...]
    policy_flags: tuple[str, ...]  # sorted, at most MAX_POLICY_FLAGS
    media_id_M: Int64
    author_row_M: Int32
    topic_M: Int32  # index into `topics`, UNKNOWN_TOPIC if missing
    created_at_ms_M: Int64
    duration_ms_M: Float32
    non_recommendable_M: Float32  # the integrity model's probability that the media must not be recommended
    policy_flags_M: UInt32  # bit i: the media item has the flag `policy_flags[i]`
    counts_MA: Float32
    recent_counts_MA: Float32
    media_vector_MD: Float32  # unit length, or zero where nothing is known
    base_rate_A: Float32  # actions per impression over everything: the prior that small counts are smoothed with
    account_id_U: Int64
    account_counts_UA: Float32
    account_recent_counts_UA: Float32
    account_n_media_U: Float32
    account_vector_UE: Float32  # unit length, or zero
    surfaces: tuple[str, ...] = ()  # where pages are shown, the busiest first, at most MAX_SURFACES

    def __post_init__(self) -> None:
        """Raises ValueError for more policy flags than a media item has bits, or for too many surfaces."""
        if len(self.surfaces) > MAX_SURFACES:
            raise ValueError(f"ItemTable.surfaces has {len(self.surfaces)} names, at most {MAX_SURFACES}")
        if len(self.policy_flags) > MAX_POLICY_FLAGS:
            raise ValueError(
                f"ItemTable.policy_flags has {len(self.policy_flags)} names, at most {MAX_POLICY_FLAGS}; merge some of them"
            )

    def base_rate(self, actions: Sequence[int]) -> float:
        """Any of the actions per impression, over everything."""
        return sum(self._base_rates[action] for action in actions)

    @cached_property
    def _base_rates(self) -> list[float]:
        rates: list[float] = self.base_rate_A.tolist()
        return rates

    def rows(self, media_id_N: Int64) -> Int64:
        """Row of every media id, UNKNOWN_ROW for ids that the table does not hold. Shape [N]."""
        return _lookup(self.media_id_M, media_id_N)

    def account_rows(self, account_id_N: Int64) -> Int64:
        """Row of every account id, UNKNOWN_ROW for ids that the table does not hold. Shape [N]."""
        return _lookup(self.account_id_U, account_id_N)

    def save(self, directory: Path) -> None:
        """Writes one .npy per column and `table.json` into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in _array_columns():
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)
        (directory / _META).write_text(json.dumps({name: getattr(self, name) for name in _META_FIELDS}))

    @classmethod
    def open(cls, directory: Path) -> ItemTable:
        """The table in `directory`, its columns memory-mapped. Raises OSError or ValueError naming the file that is wrong."""
        meta: dict[str, Any] = json.loads((directory / _META).read_text())
        columns: dict[str, Any] = {}
        for name in _array_columns():
            path = directory / f"{name}.npy"
            try:
                # As a plain array: a memmap takes several times as long to answer `column[few]`.
                columns[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return cls(
            as_of_ms=int(meta["as_of_ms"]),
            topics=tuple(meta["topics"]),
            policy_flags=tuple(meta["policy_flags"]),
            surfaces=tuple(meta["surfaces"]),
            **columns,
        )


def _array_columns() -> list[str]:
    return [field.name for field in fields(ItemTable) if field.name not in _META_FIELDS]


def _lookup(sorted_ids: Int64, wanted_N: Int64) -> Int64:
    if len(sorted_ids) == 0:
        return np.full(len(wanted_N), UNKNOWN_ROW, dtype=np.int64)
    if len(wanted_N) < _MANY:
        return _found(sorted_ids, wanted_N)
    # One after the other through a table that no cache holds: neighbours share most of their way.
    order_N, row_N = np.argsort(wanted_N), np.empty(len(wanted_N), dtype=np.int64)
    row_N[order_N] = _found(sorted_ids, wanted_N[order_N])
    return row_N


def _found(sorted_ids: Int64, wanted_N: Int64) -> Int64:
    place_N = np.minimum(sorted_ids.searchsorted(wanted_N), len(sorted_ids) - 1)
    return np.where(sorted_ids[place_N] == wanted_N, place_N, UNKNOWN_ROW)
