"""The facts of a simulated world as arrays, and how they lie on disk. Knows no behaviour and draws nothing.

Shapes: T topics, D latent dimensions, A accounts, M media, U users, N days, B blocks of four hours.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from training.datasets.simulate.pairs import as_set, place_in

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]
Int64 = NDArray[np.int64]

BLOCK_MS = 4 * 60 * 60 * 1000  # a mood lasts for blocks of this length


@dataclass(frozen=True)
class Topics:
    """Unit vectors in one latent space: topics are alike where their vectors are."""

    vector_TD: Float
    weight_T: NDArray[np.float64]  # share of accounts and of interests; sums to 1


@dataclass(frozen=True)
class Accounts:
    """Those who post. A row is an account's number everywhere in the world."""

    account_id_A: Int64
    topic_A: Int64
    second_topic_A: Int64
    quality_A: Float  # about N(0, 1)
    popularity_A: Float  # heavy-tailed, positive
    is_spam_A: Bool


@dataclass(frozen=True)
class Media:
    """What is posted, before and during the log."""

    media_id_M: Int64
    account_M: Int64
    topic_M: Int64
    vector_MD: Float  # unit length
    quality_M: Float  # about N(0, 1)
    popularity_M: Float  # heavy-tailed, positive
    duration_ms_M: Int64
    created_ms_M: Int64
    score_M: Float  # what the integrity model believes: noisy, NaN where it has not looked yet


@dataclass(frozen=True)
class Users:
    """Those who look. User "1" is row 0."""

    taste_NUD: Float  # unit length, one row per day of the log: a random walk
    mood_BU: NDArray[np.int8]  # the topic that a user is after in each block
    activity_U: Float  # requests, relative to the mean user
    registered_ms_U: Int64
    patience_U: Float  # log of the duration in ms that suits the user best
    eager_U: Float  # clicks more, about N(0, 1)
    sociable_U: Float  # likes, saves, shares, comments and follows more, about N(0, 1)
    grumpy_U: Float  # hides and reports more, about N(0, 1)
    followers_U: Int64


@dataclass(frozen=True)
class Follows:
    """Who follows whom since when; pairs are `user * A + account`, ascending."""

    pair_F: Int64
    since_ms_F: Int64

    def holds(self, pair_X: Int64, time_ms_X: Int64) -> Bool:
        """Whether each pair is followed at its time."""
        place_X = place_in(self.pair_F, pair_X)
        since_ms_X = np.append(self.since_ms_F, 0)[place_X]  # the appended one stands for "nowhere"
        return (place_X >= 0) & (since_ms_X <= time_ms_X)

    def extended(self, pair_X: Int64, since_ms: int) -> Follows:
        """With new pairs from `since_ms` on; a pair that is there already keeps its time."""
        new = as_set(pair_X[place_in(self.pair_F, pair_X) < 0])
        pair_F = np.concatenate([self.pair_F, new])
        since_ms_F = np.concatenate([self.since_ms_F, np.full(len(new), since_ms, dtype=np.int64)])
        order = np.argsort(pair_F, kind="stable")
        return Follows(pair_F[order], since_ms_F[order])


Part = TypeVar("Part", Topics, Accounts, Media, Users, Follows)


def save_part(part: Topics | Accounts | Media | Users | Follows, directory: Path) -> None:
    """Writes `<part>.npz`, without pickles and with the same bytes for the same arrays."""
    arrays = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    np.savez(directory / f"{type(part).__name__.lower()}.npz", **arrays)


def load_part(kind: type[Part], directory: Path) -> Part:
    """What `save_part` wrote. Raises OSError, KeyError or ValueError for a file that is missing or damaged."""
    file = directory / f"{kind.__name__.lower()}.npz"
    # numpy would leave a file open that it opened itself and could not read.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return kind(**{field.name: arrays[field.name] for field in dataclasses.fields(kind)})
