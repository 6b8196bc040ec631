"""Candidates out of the lists that shards found: what one service over all media would have made of them.

A list is merged by the keys of its rows, which mean the same in every shard; then the lists become one as the query says. A shard
sends the first rows of a list only. Behind the last row of a shard whose list goes on, rows of it may be missing, so a merged list
ends there. Knows no channel and no bundle; one user at a time.

Shapes: P rows of all lists of all shards, X rows of one list, L lists, S sources, N candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serving.columns import CandidateColumns, Int64, Lists
from serving.mixing import Portions, deal
from serving.ragged import rank_within
from serving.recipe import ALL, FirstOf, ListOf, Mixed, Recipe, Spread, United


@dataclass(frozen=True)
class Merged:
    """Candidates of one user, best first, and what became of the other rows of each source."""

    candidates: CandidateColumns
    kept_S: Int64
    duplicate_S: Int64  # rows of media that another row stands for
    over_quota_S: Int64


def merged(parts: Sequence[Lists], count: int) -> Merged:
    """Up to `count` candidates. `parts`: one per shard, all of the same recipe and sources."""
    pool = _Pool.of(parts, count)
    row_N = pool.rows(parts[0].recipe).row_X[:count]
    columns = CandidateColumns(
        offsets=np.array([0, len(row_N)], dtype=np.int64),
        media_id_N=pool.joined("media_id_N")[row_N],
        author_id_N=pool.joined("author_id_N")[row_N],
        seed_account_id_N=pool.joined("seed_account_id_N")[row_N],
        source_index_N=pool.joined("source_index_N")[row_N].astype(np.uint8),
        score_N=(1 - (np.arange(len(row_N)) + 0.5) / max(len(row_N), 1)).astype(np.float32),  # the place in the list
        sources=parts[0].candidates.sources,
        source_paths=parts[0].candidates.source_paths,
    )
    return pool.accounted(columns, row_N)


@dataclass(frozen=True)
class _Rows:
    """Rows of a list in order. `more`: it goes on, nobody here knows how."""

    row_X: Int64
    more: bool

    def first(self, most: int) -> _Rows:
        return _Rows(self.row_X[:most], self.more and len(self.row_X) < most)


@dataclass(frozen=True)
class _Pool:
    """The rows of all shards."""

    parts: Sequence[Lists]
    count: int
    media_P: Int64  # number of the media item, 0-based
    shard_P: Int64
    group_P: Int64
    order_P: Int64  # by list, then as a list of all shards
    ends: Int64  # of the lists in it: L + 1

    @classmethod
    def of(cls, parts: Sequence[Lists], count: int) -> _Pool:
        media_id_P = np.concatenate([part.candidates.media_id_N for part in parts])
        list_P = np.concatenate([part.list_N for part in parts])
        tie_P, key_P = (np.concatenate([getattr(part, name) for part in parts]) for name in ("tie_N", "key_N"))
        order_P = np.lexsort((media_id_P, tie_P, key_P, list_P))
        lists = parts[0].more_BL.shape[1]
        return cls(
            parts,
            count,
            media_P=np.unique(media_id_P, return_inverse=True)[1].astype(np.int64),
            shard_P=np.repeat(np.arange(len(parts)), [len(part.candidates) for part in parts]),
            group_P=np.concatenate([part.group_N for part in parts]),
            order_P=order_P,
            ends=np.searchsorted(list_P[order_P], np.arange(lists + 1)),
        )

    def joined(self, name: str) -> Int64:
        """One column of the candidates of all shards. Shape [P]."""
        return np.concatenate([getattr(part.candidates, name) for part in self.parts])

    def rows(self, recipe: Recipe) -> _Rows:
        """What a recipe makes of the lists."""
        if isinstance(recipe, ListOf):
            return self._list(recipe.number).first(recipe.most)
        if isinstance(recipe, Mixed):
            return self._mixed(recipe).first(recipe.most)
        if isinstance(recipe, United):
            return self._united(recipe).first(recipe.most)
        if isinstance(recipe, Spread):
            return self._spread(recipe).first(recipe.most)
        return self._first_of(recipe).first(recipe.most)

    def _list(self, number: int) -> _Rows:
        row_X = self.order_P[self.ends[number] : self.ends[number + 1]]
        end, more = len(row_X), False
        for shard, part in enumerate(self.parts):
            if part.more_BL[0, number]:
                mine = np.flatnonzero(self.shard_P[row_X] == shard)
                end, more = min(end, int(mine[-1]) + 1 if len(mine) else 0), True
        return _Rows(row_X[:end], more)

    def _mixed(self, recipe: Mixed) -> _Rows:
        portions = _divided(recipe, 1.0)
        leaves = portions.leaves()
        weight_S = np.array([weight for _, weight in leaves])
        lists = [self.rows(leaf) for leaf, _ in leaves]
        # All are read up to the same turn: what is unread must not come before what is read, as a claim on a media item.
        turns = [(len(each.row_X) - 1) / w for each, w in zip(lists, weight_S.tolist(), strict=True) if each.more]
        turn = max(min(turns, default=np.inf), 0.0)
        if np.isfinite(turn):
            read_S = np.floor(turn * weight_S + 1e-9).astype(np.int64) + 1
            lists = [each.first(read) for each, read in zip(lists, read_S.tolist(), strict=True)]
        row_X = np.concatenate([each.row_X for each in lists])
        list_X = np.repeat(np.arange(len(lists)), [len(each.row_X) for each in lists])
        size_B = np.array([recipe.size or self.count])
        dealt = deal(
            np.zeros(len(row_X), dtype=np.int64),
            list_X,
            self.media_P[row_X],
            size_B,
            weight_S,
            lambda available_BS: portions.shares(size_B, available_BS),
        )
        return _Rows(row_X[dealt.row_N], more=False)

    def _united(self, recipe: United) -> _Rows:
        rows, more = [], False
        for part in recipe.parts:
            found = self.rows(part)
            rows.append(found.row_X)
            if more := found.more:  # behind a list that is not known to its end nothing follows
                break
        row_X = np.concatenate(rows)
        return _Rows(row_X[np.sort(np.unique(self.media_P[row_X], return_index=True)[1])], more)

    def _spread(self, recipe: Spread) -> _Rows:
        found = self.rows(recipe.part)
        group_X = self.group_P[found.row_X]
        order_X = np.argsort(group_X, kind="stable")
        place_X = np.empty(len(group_X), dtype=np.int64)
        place_X[order_X] = rank_within(group_X[order_X])
        if recipe.max_per:
            return _Rows(found.row_X[place_X < recipe.max_per], found.more)
        return _Rows(found.row_X[np.argsort(place_X, kind="stable")], found.more)

    def _first_of(self, recipe: FirstOf) -> _Rows:
        found = [self.rows(part) for part in recipe.parts]
        enough = (each for each in found if len(each.row_X) >= recipe.at_least)
        return next(enough, max(found, key=lambda each: len(each.row_X)))

    @cached_property
    def _source_P(self) -> Int64:
        return self.joined("source_index_N").astype(np.int64)

    def accounted(self, candidates: CandidateColumns, row_N: Int64) -> Merged:
        """Which rows were kept, which stand for the same media as a kept one, and which were too many."""
        sources = len(candidates.sources)
        is_kept_P = np.zeros(len(self.media_P), dtype=np.bool_)
        is_kept_P[row_N] = True
        is_shown = np.zeros(int(self.media_P.max(initial=-1)) + 1, dtype=np.bool_)
        is_shown[self.media_P[row_N]] = True
        is_twice_P = ~is_kept_P & is_shown[self.media_P]

        def by_source(of_P: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Int64:
            return np.bincount(self._source_P[of_P], minlength=sources)

        return Merged(candidates, by_source(is_kept_P), by_source(is_twice_P), by_source(~is_kept_P & ~is_twice_P))


def _divided(recipe: Mixed, weight: float) -> Portions[Recipe]:
    total = sum(recipe.weights)
    parts = zip(recipe.weights, recipe.parts, strict=True)
    return Portions(weight, recipe, tuple(_portions(each, weight * own / total) for own, each in parts))


def _portions(recipe: Recipe, weight: float) -> Portions[Recipe]:
    """A mix inside a mix divides its share, unless it has a size of its own."""
    divides = isinstance(recipe, Mixed) and recipe.size == 0 and recipe.most == ALL
    return _divided(recipe, weight) if isinstance(recipe, Mixed) and divides else Portions(weight, recipe)
