"""What the reference job of benchmarks/sourcing.py keeps in memory: measured in a process of its own, file by file.

Counts resident pages (Rss), of files too: a page of a mapped file that was touched stays as long as there is room, and is counted
in full even where another process shares it (the proportional Pss would shrink with every further replica).
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from bundles import layout
from features.context import UserContexts
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from serving.ragged import Int64

MB = 1e6
_VECTORS = f"{layout.ITEMS}/account_vector_UE.npy"
_NEIGHBOURS = (layout.ACCOUNT_NEIGHBOURS, layout.ACCOUNT_NEIGHBOUR_COSINES)
_POSTS = (layout.ACCOUNT_MEDIA_OFFSETS, layout.ACCOUNT_MEDIA_ROWS)
_INDEX = (layout.ACCOUNT_INDEX, layout.ACCOUNT_INDEX_ROWS)
Resident = dict[str, float]


@dataclass(frozen=True)
class Part:
    """One kind of content. `counted`: whether the bound holds it against the raw vectors and lists."""

    name: str
    raw_mb: float  # as files; 0 for what is no raw content
    mapped_mb: float  # resident pages of its files
    private_mb: float  # arrays beside them
    counted: bool

    @property
    def resident_mb(self) -> float:
        return self.mapped_mb + self.private_mb


@dataclass(frozen=True)
class Memory:
    """What opening and serving added to a process that had imported everything."""

    parts: tuple[Part, ...]
    total_mb: float  # of the whole process, grown since its imports
    index_mb: float  # the account index as a file: what would be mapped if a search visited all of it
    users: int

    @property
    def raw_mb(self) -> float:
        """Account vectors, and the lists of what accounts posted: what a search over vectors could not do without."""
        return sum(part.raw_mb for part in self.parts if part.counted)

    @property
    def ratio(self) -> float:
        return sum(part.resident_mb for part in self.parts if part.counted) / self.raw_mb


def measured_memory(
    directory: Path, query: Path, contexts: Sequence[UserContexts], seen: Sequence[Int64], count: int
) -> Memory:
    """Opens the bundle in a fresh process, serves all users one by one, and looks at what is resident."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (directory, query, contexts, seen, count))


def _measure(
    directory: Path, query: Path, contexts: Sequence[UserContexts], seen: Sequence[Int64], count: int
) -> Memory:
    faiss.omp_set_num_threads(1)
    gc.collect()
    before = resident_mb()
    catalogue = Catalogue.of_files(lambda relative: directory / relative)
    engine = RetrievalEngine(catalogue, SourcingConfig(igql_file=query))
    for context, seen_ids in zip(contexts, seen, strict=True):
        engine.retrieve(context, [seen_ids], np.array([count]))
    gc.collect()
    after = resident_mb()
    ctypes.CDLL(None).malloc_trim(0)
    index_mb = (directory / layout.ACCOUNT_INDEX).stat().st_size / MB
    parts = _parts(catalogue, directory, before, after, resident_mb())
    return Memory(parts, _sum(after) - _sum(before), index_mb, len(contexts))


def _parts(
    catalogue: Catalogue, directory: Path, before: Resident, after: Resident, trimmed: Resident
) -> tuple[Part, ...]:
    """`trimmed`: after the allocator gave back what it keeps for reuse, which is as large as what opening sorted for a while."""
    mapped = {
        str(Path(path).relative_to(directory)): mb for path, mb in after.items() if path.startswith(f"{directory}/")
    }
    libraries = _sum(after) - after[""] - sum(mapped.values()) - (_sum(before) - before[""])
    orders, tables = catalogue.orders, catalogue.tables
    posts = _size(orders.posted_row_M, tables.posted.offsets)
    trends = catalogue.trends(None)
    per_media = _size(
        *(orders.quality_M, orders.newest_row_M, orders.newest_created_ms_M),
        *(trends.value_M, trends.row_M, trends.topic_row),
    )
    unused = _size(
        *(tables.co_occurring.offsets, tables.follows.offsets, tables.engaged.offsets, tables.segment_media.offsets)
    )

    def resident(files: Callable[[str], bool]) -> float:
        return sum(mb for file, mb in mapped.items() if files(file))

    def part(name: str, files: tuple[str, ...], private: float = 0.0, *, raw: bool) -> Part:
        raw_mb = sum((directory / file).stat().st_size for file in files) / MB if raw else 0.0
        return Part(name, raw_mb, resident(files.__contains__), private, counted=True)

    counted = (
        part("account vectors", (_VECTORS,), raw=True),
        part("account -> media", _POSTS, posts, raw=True),
        part("account -> neighbours", _NEIGHBOURS, raw=False),
        part("account index", _INDEX, raw=False),
    )
    named = {_VECTORS, *_NEIGHBOURS, *_POSTS, *_INDEX}
    items = resident(lambda file: file.startswith(f"{layout.ITEMS}/") and file not in named)
    others = resident(lambda file: not file.startswith(f"{layout.ITEMS}/") and file not in named)
    return (
        *counted,
        # What nobody accounts for is held against the bound: the index's arrays, the plan, objects.
        Part("other private memory", 0.0, 0.0, trimmed[""] - before[""] - posts - per_media - unused, counted=True),
        Part("item columns", 0.0, items, 0.0, counted=False),
        Part("orders of all media", 0.0, 0.0, per_media, counted=False),
        Part("lists that the job does not read", 0.0, others, unused, counted=False),
        Part("code, first used here", 0.0, libraries, 0.0, counted=False),
        Part("free, kept by the allocator", 0.0, 0.0, after[""] - trimmed[""], counted=False),
    )


def _size(*arrays: np.ndarray) -> float:
    return sum(each.nbytes for each in arrays) / MB


def _sum(resident: Resident) -> float:
    return sum(resident.values())


def resident_mb() -> Resident:
    """Resident megabytes of this process, by mapped file; "" is what belongs to no file."""
    found: dict[str, float] = defaultdict(float)
    path = ""
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split(maxsplit=5)
        if "-" in words[0]:  # the head of a mapping: addresses, rights, offset, device, inode, and maybe a path
            path = words[5] if len(words) == 6 and words[5].startswith("/") else ""
        elif words[0] == "Rss:":
            found[path] += int(words[1]) * 1024 / MB
    return found
