"""Media that the same users liked: for every media item the others that share more of its users than chance would give them.

The pairs of Instagram's "Suggested posts" (2020): counted once per user, normalised by how often either occurs. Knows the log;
knows no vectors, authors or topics.

Shapes: M media, E events, P entries (a user and one of their media), X pairs of a block, R pairs that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.item_table import UNKNOWN_ROW
from training.columns import Scratch, gathered, grouped
from training.event_log import EventLog
from training.progress import Progress
from training.sourcing.config import CoOccurrenceConfig
from training.sourcing.lists import Lists, newest_distinct, offsets_of, ranges, rank_within

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_PAIRS_AT_ONCE = 2_000_000  # a tenth of a gigabyte while they are sorted


@dataclass(frozen=True)
class CoOccurrence:
    """Per media item the media liked by the same users, best first, with scores in (0, 1]."""

    liked: Lists
    score: Float32


def co_occurring(
    log: EventLog,
    as_of_ms: int,
    config: CoOccurrenceConfig,
    progress: Progress | None = None,
    pairs_at_once: int = _PAIRS_AT_ONCE,
) -> CoOccurrence:
    """Lists from the positive actions before `as_of_ms`; of every user the `recent_media` latest distinct media count.

    The score of n users in common is n / sqrt(users of one x users of the other) x n / (n + shrinkage). Equal scores are ordered by
    media row. `progress` gets (pairs counted, all).
    """
    event_E = log.positives_before(as_of_ms)
    event_E = event_E[log.media_row_E[event_E] != UNKNOWN_ROW]
    user_P, media_P = newest_distinct(log.user_E[event_E], log.media_row_E[event_E], config.recent_media, log.scratch)
    media = len(log.media_id_M)
    count_M = np.bincount(media_P, minlength=media)
    seeds, others, scores = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for key_X, users_X in _pair_counts((user_P, media_P), media, pairs_at_once, progress, log.scratch):
        often_X = users_X >= config.min_users
        seed_X, other_X, users_R = key_X[often_X] // media, key_X[often_X] % media, users_X[often_X]
        cosine_R = users_R / np.sqrt(count_M[seed_X].astype(np.float64) * count_M[other_X])
        score_R = (cosine_R * (users_R / (users_R + config.shrinkage))).astype(np.float32)
        order_R = np.lexsort((other_X, -score_R, seed_X))
        order_R = order_R[rank_within(seed_X[order_R]) < config.per_media]
        seeds.append(seed_X[order_R].astype(np.int32))
        others.append(other_X[order_R].astype(np.int32))
        scores.append(score_R[order_R])
    return CoOccurrence(Lists.of(np.concatenate(seeds), np.concatenate(others), media), np.concatenate(scores))


def _pair_counts(
    entries: tuple[Int32, Int32], media: int, pairs_at_once: int, progress: Progress | None, scratch: Scratch
) -> Iterator[tuple[Int64, Int64]]:
    """Ordered pairs as `seed * media + other`, and how many users have both; ascending, all pairs of a seed at once.

    Memory stays bounded because blocks follow the seeds, not the users: what a block has counted is final, except for its last
    seed, which waits for the next block.
    """
    user_P, media_P = entries
    start_V = offsets_of(user_P, 0)
    order_P, _ = grouped(lambda of: media_P[of], 0, len(media_P), media, scratch)
    seed_P, owner_P = gathered(media_P, order_P, scratch), gathered(user_P, order_P, scratch)
    length_P = gathered(np.diff(start_V), owner_P, scratch)
    ends_P = np.cumsum(length_P, out=scratch.empty(length_P.shape, np.int64))
    total, start = int(ends_P[-1]) if len(ends_P) else 0, 0
    held: tuple[Int64, Int64] = (np.empty(0, np.int64), np.empty(0, np.int64))
    while start < len(seed_P):
        before = int(ends_P[start] - length_P[start])
        end = max(start + 1, int(np.searchsorted(ends_P, before + pairs_at_once, side="right")))
        of = slice(start, end)
        seed_X = np.repeat(seed_P[of].astype(np.int64), length_P[of])
        other_X = media_P[ranges(start_V[owner_P[of]], length_P[of])]
        counted = np.unique((seed_X * media + other_X)[seed_X != other_X], return_counts=True)
        key_X, users_X = _joined(held, counted, (int(seed_P[start]) + 1) * media)
        last = int(np.searchsorted(key_X, int(seed_P[end - 1]) * media)) if end < len(seed_P) else len(key_X)
        held = key_X[last:], users_X[last:]
        yield key_X[:last], users_X[:last]
        start = end
        if progress is not None:
            progress(int(ends_P[end - 1]), total)


def _joined(held: tuple[Int64, Int64], counted: tuple[Int64, Int64], bound: int) -> tuple[Int64, Int64]:
    """Adds what waited. Only keys below `bound`, those of the block's first seed, can be in both."""
    split = int(np.searchsorted(counted[0], bound))
    key_X, place_X = np.unique(np.concatenate([held[0], counted[0][:split]]), return_inverse=True)
    users_X = np.bincount(place_X, np.concatenate([held[1], counted[1][:split]]), len(key_X)).astype(np.int64)
    return np.concatenate([key_X, counted[0][split:]]), np.concatenate([users_X, counted[1][split:]])
