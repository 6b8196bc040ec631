"""The lists that training publishes for sourcing besides items and vectors: posts, co-occurrence, the account graph, trends.

Knows files and shapes; knows no user and no operator. What an operator may assume about the arrays is checked here, once.
Shapes: M media, U accounts, W windows, S segments, X rows of all lists.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles import layout
from serving.ragged import Int64, ranges

Float32 = NDArray[np.float32]
Find = Callable[[str], Path]  # from a path inside the bundle to a file; raises for a file that the bundle lacks


class BrokenColumn(Exception):
    """A file of the bundle breaks the contract; `file` is its path inside the bundle."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file, self.problem = file, problem


@dataclass(frozen=True)
class Lists:
    """One list of rows per key, best first, as posting lists: key k has `row_X[offsets[k] : offsets[k + 1]]`.

    The lists of a shard hold its own rows only. `place_X` says where those stand in the lists of all rows.
    """

    offsets: Int64
    row_X: NDArray[np.integer]
    score_X: Float32 | None = None
    place_X: NDArray[np.int32] | None = None  # 0-based; None: nothing is left out

    def of(self, key_S: Int64, most: int) -> tuple[Int64, Int64]:
        """The first `most` rows of each key's list, as far as they are here: places in `row_X`, rows per key. Shapes [Y], [S]."""
        take_S = np.minimum(self.offsets[key_S + 1] - self.offsets[key_S], most)
        found_Y = ranges(self.offsets[key_S], take_S)
        if self.place_X is None:
            return found_Y, take_S
        near_Y = self.place_X[found_Y] < most
        key_Y = np.repeat(np.arange(len(key_S)), take_S)
        return found_Y[near_Y], np.bincount(key_Y[near_Y], minlength=len(key_S))

    def places(self, found_Y: Int64, take_S: Int64) -> Int64:
        """Where the rows that `of` found stand in the lists of all rows, 0-based. Shape [Y]."""
        if self.place_X is not None:
            return self.place_X[found_Y].astype(np.int64)
        return ranges(np.zeros_like(take_S), take_S)

    def only(self, own_row_R: NDArray[np.int32]) -> Lists:
        """The lists of a shard: rows whose new number in `own_row_R` is below 0 are left out."""
        kept_Y = np.flatnonzero(own_row_R[self.row_X] >= 0)
        key_Y = np.searchsorted(self.offsets, kept_Y, side="right") - 1
        return Lists(
            offsets=np.searchsorted(kept_Y, self.offsets).astype(np.int64),
            row_X=own_row_R[self.row_X[kept_Y]],
            score_X=None if self.score_X is None else self.score_X[kept_Y],
            place_X=(kept_Y - self.offsets[key_Y]).astype(np.int32),
        )

    @classmethod
    def none(cls, keys: int) -> Lists:
        """Empty lists."""
        return cls(np.zeros(keys + 1, dtype=np.int64), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))


@dataclass(frozen=True)
class SourcingTables:
    """The lists of one bundle. Rows are rows of its item table."""

    posted: Lists  # account -> its media
    co_occurring: Lists  # media -> media that the same users liked, with scores
    follows: Lists  # account -> accounts that its owner follows
    engaged: Lists  # account -> media that its owner acted on
    windows_ms: tuple[int, ...] = ()
    window_value_WM: Float32 = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    segments: tuple[str, ...] = ()
    segment_media: Lists = field(default_factory=lambda: Lists.none(0))

    @classmethod
    def of_posts(cls, offsets: Int64, media_row_M: Int64) -> SourcingTables:
        """Posting lists and nothing else."""
        accounts, media = len(offsets) - 1, len(media_row_M)
        return cls(
            Lists(offsets, media_row_M), Lists.none(media), follows=Lists.none(accounts), engaged=Lists.none(accounts)
        )

    @classmethod
    def open(cls, find: Find) -> SourcingTables:
        """The tables of a bundle, memory-mapped. Raises BrokenColumn, naming the file that is wrong."""
        about = _json(find, layout.TRENDING)
        return cls(
            posted=_lists(find, layout.ACCOUNT_MEDIA_OFFSETS, layout.ACCOUNT_MEDIA_ROWS),
            co_occurring=_lists(
                find, layout.CO_OCCURRING_OFFSETS, layout.CO_OCCURRING_ROWS, layout.CO_OCCURRING_SCORES
            ),
            follows=_lists(find, layout.ACCOUNT_FOLLOW_OFFSETS, layout.ACCOUNT_FOLLOW_ROWS),
            engaged=_lists(find, layout.ACCOUNT_ENGAGED_OFFSETS, layout.ACCOUNT_ENGAGED_ROWS),
            windows_ms=tuple(int(each) for each in about["windows_ms"]),
            window_value_WM=array(find, layout.TRENDING_VALUES, np.floating, dimensions=2),
            segments=tuple(str(each) for each in about["segments"]),
            segment_media=_lists(find, layout.SEGMENT_OFFSETS, layout.SEGMENT_ROWS),
        )

    def check(self, media: int, accounts: int) -> None:
        """Raises BrokenColumn unless every list fits an item table of this size."""
        for lists, keys, rows, offsets_file, rows_file in (
            (self.posted, accounts, media, layout.ACCOUNT_MEDIA_OFFSETS, layout.ACCOUNT_MEDIA_ROWS),
            (self.co_occurring, media, media, layout.CO_OCCURRING_OFFSETS, layout.CO_OCCURRING_ROWS),
            (self.follows, accounts, accounts, layout.ACCOUNT_FOLLOW_OFFSETS, layout.ACCOUNT_FOLLOW_ROWS),
            (self.engaged, accounts, media, layout.ACCOUNT_ENGAGED_OFFSETS, layout.ACCOUNT_ENGAGED_ROWS),
            (self.segment_media, len(self.segments), media, layout.SEGMENT_OFFSETS, layout.SEGMENT_ROWS),
        ):
            _check_lists(lists, keys, rows, offsets_file, rows_file)
        scores = self.co_occurring.score_X
        if scores is None or len(scores) != len(self.co_occurring.row_X):
            raise BrokenColumn(layout.CO_OCCURRING_SCORES, f"must have {len(self.co_occurring.row_X)} rows")
        if self.windows_ms and self.window_value_WM.shape != (len(self.windows_ms), media):
            problem = f"has shape {self.window_value_WM.shape}, expected {(len(self.windows_ms), media)}"
            raise BrokenColumn(layout.TRENDING_VALUES, problem)


def array(find: Find, file: str, kind: type, dimensions: int = 1) -> NDArray[Any]:
    """One memory-mapped array. Raises BrokenColumn if it is no array of that kind."""
    try:
        # As a plain array: a memmap takes several times as long to answer `rows[few]`.
        found: NDArray[Any] = np.asarray(np.load(find(file), mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise BrokenColumn(file, f"cannot be read: {error}") from error
    if found.ndim != dimensions or not np.issubdtype(found.dtype, kind):
        raise BrokenColumn(
            file,
            f"holds {found.dtype} of shape {found.shape}, expected {dimensions} dimension(s) of {kind.__name__}",
        )
    return found


def release_pages(*arrays: NDArray[Any]) -> None:
    """Gives back the memory of memory-mapped arrays that were read once, to check or to sort; what is read again comes back."""
    _advise(arrays, mmap.MADV_DONTNEED)


def read_here_and_there(*arrays: NDArray[Any]) -> None:
    """Of memory-mapped arrays only the pages are read that somebody asks for, none around them."""
    _advise(arrays, mmap.MADV_RANDOM)


def _advise(arrays: Sequence[NDArray[Any]], advice: int) -> None:
    for each in arrays:
        owner: Any = each
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap):
            owner.madvise(advice)


def _lists(find: Find, offsets: str, rows: str, scores: str | None = None) -> Lists:
    return Lists(
        array(find, offsets, np.integer).astype(np.int64),
        array(find, rows, np.integer),
        array(find, scores, np.floating) if scores else None,
    )


def _json(find: Find, file: str) -> dict[str, Any]:
    try:
        about = json.loads(find(file).read_text(encoding="utf-8"))
        if not (isinstance(about["windows_ms"], list) and isinstance(about["segments"], list)):
            raise TypeError("windows_ms and segments must be lists")
        return dict(about)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenColumn(file, f"cannot be read: {error}") from error


def _check_lists(lists: Lists, keys: int, rows: int, offsets_file: str, rows_file: str) -> None:
    ends = lists.offsets[[0, -1]].tolist() if len(lists.offsets) else []
    if len(lists.offsets) != keys + 1 or ends != [0, len(lists.row_X)] or np.any(np.diff(lists.offsets) < 0):
        raise BrokenColumn(offsets_file, f"does not cut {len(lists.row_X)} rows into {keys} lists")
    if len(lists.row_X) and (lists.row_X.min() < 0 or lists.row_X.max() >= rows):
        raise BrokenColumn(rows_file, f"names rows outside 0..{rows - 1}")
