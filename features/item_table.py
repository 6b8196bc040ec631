"""Item features as columns, memory-mapped in serving. Knows nothing of users, and cannot change: a new snapshot is a new table.

Shapes: M media, U accounts (authors), A action codes, D media vector, E account vector.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

UNKNOWN_ROW = -1  # a media item or account that the table does not hold
UNKNOWN_TOPIC = -1
_META = "table.json"


@dataclass(frozen=True)
class ItemTable:
    """Everything the stages know about media and their authors, as of one moment.

    `media_id_M` and `account_id_U` are sorted ascending; a row number is the key everywhere else. Counters count events before
    `as_of_ms`; `recent` counters halve every `features.counters.HALF_LIFE_MS`. NaN marks a missing float.
    """

    as_of_ms: int
    topics: tuple[str, ...]
    media_id_M: Int64
    author_row_M: Int32
    topic_M: Int32  # index into `topics`, UNKNOWN_TOPIC if missing
    created_at_ms_M: Int64
    duration_ms_M: Float32
    non_recommendable_M: Float32  # the integrity model's probability that the media must not be recommended
    counts_MA: Float32
    recent_counts_MA: Float32
    media_vector_MD: Float32  # unit length, or zero where nothing is known
    base_rate_A: Float32  # actions per impression over everything: the prior that small counts are smoothed with
    account_id_U: Int64
    account_counts_UA: Float32
    account_n_media_U: Float32
    account_vector_UE: Float32  # unit length, or zero

    def rows(self, media_id_N: Int64) -> Int64:
        """Row of every media id, UNKNOWN_ROW for ids that the table does not hold. Shape [N]."""
        return _lookup(self.media_id_M, media_id_N)

    def save(self, directory: Path) -> None:
        """Writes one .npy per column and `table.json` into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in _array_columns():
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)
        (directory / _META).write_text(json.dumps({"as_of_ms": self.as_of_ms, "topics": list(self.topics)}))

    @classmethod
    def open(cls, directory: Path) -> ItemTable:
        """The table in `directory`, its columns memory-mapped. Raises OSError or ValueError naming the file that is wrong."""
        meta: dict[str, Any] = json.loads((directory / _META).read_text())
        columns: dict[str, Any] = {}
        for name in _array_columns():
            path = directory / f"{name}.npy"
            try:
                columns[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return cls(as_of_ms=int(meta["as_of_ms"]), topics=tuple(meta["topics"]), **columns)


def _array_columns() -> list[str]:
    return [field.name for field in fields(ItemTable) if field.name not in ("as_of_ms", "topics")]


def _lookup(sorted_ids: Int64, wanted_N: Int64) -> Int64:
    if len(sorted_ids) == 0:
        return np.full(len(wanted_N), UNKNOWN_ROW, dtype=np.int64)
    place_N = np.minimum(np.searchsorted(sorted_ids, wanted_N), len(sorted_ids) - 1)
    return np.where(sorted_ids[place_N] == wanted_N, place_N, UNKNOWN_ROW).astype(np.int64)
