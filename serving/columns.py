"""What travels between the stages, as numpy columns. Knows neither protobuf nor gRPC, so domain code can hold it.

Shapes: B users, N candidates of all users one after the other, M kept candidates likewise, T tasks, F dense features of a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from serving.recipe import Recipe

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class CandidateColumns:
    """N candidates of B users; user b has the rows `offsets[b] : offsets[b + 1]`. NaN as score means unscored."""

    offsets: Int64  # B + 1
    media_id_N: Int64
    author_id_N: Int64
    seed_account_id_N: Int64  # 0 where the source has none
    source_index_N: NDArray[np.uint8]  # position in `sources`
    score_N: Float32
    sources: tuple[str, ...]
    source_paths: tuple[str, ...] = ()  # the operators behind each source, "" where unknown; () if none is known

    def __len__(self) -> int:
        return len(self.media_id_N)

    def __post_init__(self) -> None:
        """Raises ValueError naming the column or table whose length does not fit."""
        rows = int(self.offsets[-1]) if len(self.offsets) else -1
        columns: tuple[NDArray[Any], ...] = (
            self.media_id_N,
            self.author_id_N,
            self.seed_account_id_N,
            self.source_index_N,
            self.score_N,
        )
        if any(len(column) != rows for column in columns):
            names = ("media_id_N", "author_id_N", "seed_account_id_N", "source_index_N", "score_N")
            name, column = next((n, c) for n, c in zip(names, columns, strict=True) if len(c) != rows)
            raise ValueError(f"CandidateColumns.{name} has {len(column)} rows, offsets end at {rows}")
        if self.source_paths and len(self.source_paths) != len(self.sources):
            raise ValueError(
                f"CandidateColumns.source_paths has {len(self.source_paths)} entries, sources has {len(self.sources)}"
            )

    def source(self, row: int) -> str:
        """Name of the source that brought a row."""
        return self.sources[self.source_index_N[row]]

    def source_path(self, row: int) -> str:
        """The operators that brought a row, from the user to the result; empty if unknown."""
        return self.source_paths[self.source_index_N[row]] if self.source_paths else ""

    def take(self, row_M: Int64, offsets: Int64, score_M: Float32) -> CandidateColumns:
        """The rows that a stage kept, in its order, with its scores."""
        return CandidateColumns(
            offsets=offsets,
            media_id_N=self.media_id_N[row_M],
            author_id_N=self.author_id_N[row_M],
            seed_account_id_N=self.seed_account_id_N[row_M],
            source_index_N=self.source_index_N[row_M],
            score_N=score_M,
            sources=self.sources,
            source_paths=self.source_paths,
        )


@dataclass(frozen=True)
class Lists:
    """What a shard found for B users, before it is mixed: candidates are grouped by user, then by list."""

    candidates: CandidateColumns
    list_N: Int64
    # Orders a list over all shards, lowest first; of equal ones the lower tie, then the lower media id.
    key_N: NDArray[np.float64]
    tie_N: NDArray[np.float64]
    group_N: Int64  # what the recipe spreads over, 0 where it does not
    more_BL: NDArray[np.bool_]  # whether a list goes on beyond its rows here
    recipe: Recipe


@dataclass(frozen=True)
class RankBatch:
    """A decoded RankRequest: B users, their candidates, and what each user's arm values."""

    request_id: str
    contexts: UserContexts
    candidates: CandidateColumns
    weights: tuple[Mapping[str, float], ...]  # B tables, task -> weight
    keep_B: Int64
    bundle_version: str  # "" = the current one
    with_features: bool = False  # the caller wants to see what the model read


@dataclass(frozen=True)
class Ranked:
    """The M candidates that a ranking stage kept, best first within a user; `row_M` points into its request."""

    offsets: Int64  # B + 1
    row_M: Int64
    score_M: Float32
    tasks: tuple[str, ...]
    probability_MT: Float32
    bundle_version: str
    features_us: int = 0
    model_us: int = 0
    total_us: int = 0
    features_MF: Float32 | None = None  # None unless asked for, and for a stage that reads none
    feature_schema: str = ""  # says what the F columns mean; "" without features
