"""Where columns as long as the log are kept: in memory up to a budget, in files that are mapped into memory beyond it.

Knows sizes and order; knows nothing of what a column means. Whoever fills or reads such a column does so a chunk at a time: what
is chosen here changes where the bytes lie and nothing else.

The files have no name: they go with the process, however it ends. Pages of a mapped file are memory that the kernel takes back
whenever somebody needs it.

Shapes: X rows, G groups, K rows that are chosen.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Int64 = NDArray[np.int64]
GroupOf = Callable[[slice], NDArray[np.integer]]

CHUNK = 1 << 19  # rows that are handled at once: some ten megabytes for each of their columns and temporaries
NO_GROUP = -1


@dataclass
class Scratch:
    """Hands out arrays. The first ones that fit `budget` bytes together are in memory, all others in files below `directory`.

    None as `budget` means memory without limit. The default directory is the system's for temporary files, which on some systems is
    itself in memory.
    """

    directory: Path | None = None
    budget: int | None = None
    in_memory: int = field(default=0, init=False)  # bytes handed out so far; what is dropped is not counted back
    in_files: int = field(default=0, init=False)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array to be filled, [*shape]. Raises OSError when the disk has no room for it."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size == 0 or self.budget is None or self.in_memory + size <= self.budget:
            self.in_memory += size
            return np.empty(shape, dtype)
        self.in_files += size
        return np.frombuffer(self._mapped(size), dtype=dtype).reshape(shape)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """As `empty`, all zeros."""
        made = self.empty(shape, dtype)
        made[:] = 0
        return made

    def _mapped(self, size: int) -> mmap.mmap:
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.directory) as file:
            # A write beyond the end of the disk would kill the process without a word, so the room is taken first.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)


def chunks(start: int, end: int, size: int | None = None) -> Iterator[slice]:
    """[start, end) in slices of at most `size` rows, CHUNK if not said."""
    size = size or CHUNK
    for first in range(start, end, size):
        yield slice(first, min(first + size, end))


def selected(column_X: NDArray[Any], keep_X: NDArray[np.bool_], scratch: Scratch) -> NDArray[Any]:
    """`column_X[keep_X]`, made a chunk at a time. Shape [K, ...]."""
    made = scratch.empty((int(np.count_nonzero(keep_X)), *column_X.shape[1:]), column_X.dtype)
    done = 0
    for of in chunks(0, len(column_X)):
        part = column_X[of][keep_X[of]]
        made[done : done + len(part)] = part
        done += len(part)
    return made


def gathered(column_X: NDArray[Any], place_K: Int64, scratch: Scratch) -> NDArray[Any]:
    """`column_X[place_K]`, made a chunk at a time. Shape [K, ...]."""
    made = scratch.empty((len(place_K), *column_X.shape[1:]), column_X.dtype)
    for of in chunks(0, len(place_K)):
        made[of] = column_X[place_K[of]]
    return made


def places_where(chosen: Callable[[slice], NDArray[np.bool_]], start: int, end: int) -> Int64:
    """The places in [start, end) where `chosen` is true, asked twice about every chunk. In memory: for rare rows. [K]."""
    place_K = np.empty(sum(int(np.count_nonzero(chosen(of))) for of in chunks(start, end)), dtype=np.int64)
    done = 0
    for of in chunks(start, end):
        part = np.flatnonzero(chosen(of)) + of.start
        place_K[done : done + len(part)] = part
        done += len(part)
    return place_K


def grouped(group_of: GroupOf, start: int, end: int, groups: int, scratch: Scratch) -> tuple[Int64, Int64]:
    """The places in [start, end) by group, in their own order within one, and where each group starts. Shapes [K], [G + 1].

    `group_of` is asked for the groups of a chunk, twice; rows of NO_GROUP are left out. A counting sort: one pass counts, the
    other puts every place where it belongs.
    """
    count_G = np.zeros(groups, dtype=np.int64)
    for of in chunks(start, end):
        group_X = group_of(of)
        count_G += np.bincount(group_X[group_X != NO_GROUP], minlength=groups)
    start_G = np.concatenate([[0], np.cumsum(count_G)]).astype(np.int64)
    place_K: Int64 = scratch.empty((int(start_G[-1]),), np.int64)
    next_G = start_G[:-1].copy()
    for of in chunks(start, end):
        group_X = group_of(of)
        kept_X = np.flatnonzero(group_X != NO_GROUP)
        kept_X = kept_X[np.argsort(group_X[kept_X], kind="stable")]
        group_X = group_X[kept_X]
        first_X = np.flatnonzero(np.diff(group_X, prepend=NO_GROUP))
        length_X = np.diff(np.append(first_X, len(group_X)))
        nth_X = np.arange(len(group_X)) - np.repeat(first_X, length_X)
        place_K[next_G[group_X] + nth_X] = kept_X + of.start
        next_G[group_X[first_X]] += length_X
    return place_K, start_G


def blocks(start_G: Int64) -> Iterator[slice]:
    """Runs of groups that hold at most CHUNK rows together, or one group alone. `start_G` as `grouped` returns it."""
    group, groups = 0, len(start_G) - 1
    while group < groups:
        end = int(np.searchsorted(start_G, start_G[group] + CHUNK, side="right")) - 1
        end = min(max(end, group + 1), groups)
        yield slice(group, end)
        group = end


def time_order(time_X: Int64, scratch: Scratch) -> Int64:
    """The stable order of `time_X`, [X]. Rows are dealt into spans of time first, so that only one span is sorted at once."""
    sample = np.sort(time_X[:: max(1, len(time_X) // (1 << 16))])
    edge_G = np.unique(sample[:: max(1, len(sample) * CHUNK // max(len(time_X), 1))])[1:]

    def span_of(of: slice) -> Int64:
        return np.searchsorted(edge_G, time_X[of], side="right")

    place_X, start_G = grouped(span_of, 0, len(time_X), len(edge_G) + 1, scratch)
    for group in range(len(edge_G) + 1):
        of = slice(int(start_G[group]), int(start_G[group + 1]))
        own_X = place_X[of]
        place_X[of] = own_X[np.argsort(time_X[own_X], kind="stable")]
    return place_X
