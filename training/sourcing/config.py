"""The knobs of what is published for sourcing, as a recipe holds them. Data only; each is read by the module it is named after."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from features.counters import DAY_MS
from training.errors import ConfigError

IndexKind = Literal["auto", "exact", "hnsw", "ivf_pq"]


@dataclass(frozen=True)
class IndexConfig:
    """How vectors are searched. `auto` scans below `exact_below` vectors and builds a graph (HNSW) above.

    A graph answers fastest and holds every vector; `ivf_pq` holds them in about 1.5 bytes per dimension,
    for catalogues that memory is short for. Threads build a graph together, so two runs give two graphs that are equally good; the
    other kinds come out the same. One thread would always give the same graph, and take as many times longer as
    there are cores.
    """

    kind: IndexKind = "auto"
    exact_below: int = 50_000  # vectors up to which an exact scan is fast enough
    # FAISS's defaults (40, 16) lose neighbours at the sizes at which a graph is built at all.
    ef_construction: int = 200
    ef_search: int = 128
    probes: int = 32  # cells that an ivf_pq search looks into
    # A search that misses neighbours looks twice as far, and again, up to so many times as far; 1: never.
    widen: int = 16

    def __post_init__(self) -> None:
        if self.kind not in get_args(IndexKind):
            raise ConfigError("IndexConfig.kind", self.kind, f"take one of: {', '.join(get_args(IndexKind))}")


@dataclass(frozen=True)
class CoOccurrenceConfig:
    """Which pairs of media count, and how many are kept."""

    per_media: int = 50
    # Of every user the most recent media only: one who liked a thousand would alone make half a million pairs, and say
    # little with each.
    recent_media: int = 100
    min_users: int = 2  # a pair that one user made may be chance
    shrinkage: float = 5.0  # a pair of n users counts n / (n + shrinkage) of its cosine (Bell and Koren, 2007)


@dataclass(frozen=True)
class GraphConfig:
    """How long the lists of accounts that belong to users may be."""

    follows: int = 100
    engaged: int = 50


@dataclass(frozen=True)
class SourcingConfig:
    """Everything that decides what sourcing finds in a bundle."""

    account_index: IndexConfig = field(default_factory=IndexConfig)
    media_index: IndexConfig = field(default_factory=IndexConfig)
    neighbours: int = 50  # stored per account
    all_pairs_up_to: int = 200_000  # accounts with a vector; beyond, their neighbours are asked of the index
    co_occurrence: CoOccurrenceConfig = field(default_factory=CoOccurrenceConfig)
    windows_ms: tuple[int, ...] = (DAY_MS, 2 * DAY_MS, 7 * DAY_MS)
    per_segment: int = 1_000  # media kept per segment
    graph: GraphConfig = field(default_factory=GraphConfig)

    def __post_init__(self) -> None:
        if not self.windows_ms or min(self.windows_ms) <= 0:
            raise ConfigError("SourcingConfig.windows_ms", self.windows_ms, "name at least one window longer than 0 ms")
