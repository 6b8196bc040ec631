"""The catalogue and the users of the reference job: those of benchmarks/sourcing_world.py, with media vectors and long histories.

Random, but shaped as accounts, media and people are, and the same in every run.

Shapes: M media, U accounts, C clusters, D media vector, X older actions of one user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from valkey import Valkey

from benchmarks.sourcing_world import CLICKS, HIDES, LIKES, NOW_MS, Size, make_items, no_events
from bundles import layout
from cli.progress import Steps
from features.actions import N_ACTIONS, Action
from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH
from features.counters import DAY_MS, HOUR_MS
from features.item_features import save_items
from features.item_table import ItemTable
from features.recency import N_WINDOWS, RecentCounts
from features.relations import Relation
from features.user_state import HISTORY_RECORD, Profile, UserState, encode, user_key
from training.sourcing import write_sourcing
from training.sourcing.config import IndexConfig, SourcingConfig

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]

_SEED = 20_241
_DIM, _OWN = 32, 0.8  # width of the two-tower vectors, and how far a post lies from its account's middle
_INTERESTS = 8  # clusters that a user acts on
_OLDER_MEDIAN, _OLDER_SPREAD = 150, 1.0  # of the log-normal number of actions before the newest ones
_SEEN = (800, 1_900)  # media remembered as shown; below the cap, so that a page can be taken back in a comparison
_LOAD_AT_ONCE = 200
# How often each kind of action is among the older ones.
_OLDER_ACTIONS = {
    Action.CLICK: 0.55,
    Action.LONG_VIEW: 0.25,
    Action.LIKE: 0.12,
    Action.SAVE: 0.03,
    Action.SHARE: 0.03,
    Action.FOLLOW: 0.02,
}


def write_world(size: Size, directory: Path, steps: Steps) -> None:
    """Writes the item table and everything that sourcing reads, as training does, and the cluster of every account."""
    draw = np.random.default_rng(_SEED)
    with steps.step("accounts and media"):
        items, cluster_U = make_items(size, draw)
        items = replace(items, media_vector_MD=_media_vectors(items, cluster_U, size, draw), surfaces=("explore",))
        save_items(items, directory / layout.ITEMS)
        np.save(directory / "cluster_U.npy", cluster_U)
    nobody = pl.DataFrame(schema={"user_id": pl.String})
    # The job's program asks no media index; a graph of a million media would take many minutes to build for nothing.
    config = SourcingConfig(media_index=IndexConfig(kind="exact"))
    write_sourcing(items, no_events(items), nobody, directory, steps, vectors_until_ms=NOW_MS, config=config)


def _media_vectors(items: ItemTable, cluster_U: Int64, size: Size, draw: np.random.Generator) -> Float32:
    """Unit vectors around those of the accounts' clusters. Shape [M, D]."""
    centre_CD = draw.standard_normal((size.clusters, _DIM), dtype=np.float32)
    vector_MD = centre_CD[cluster_U[items.author_row_M]]
    vector_MD += _OWN * draw.standard_normal(vector_MD.shape, dtype=np.float32)
    return (vector_MD / np.linalg.norm(vector_MD, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class People:
    """The users: `state(n)` makes the n-th, the same whenever it is asked."""

    items: ItemTable
    by_cluster: tuple[Int64, ...]  # media rows
    users: int

    @classmethod
    def of(cls, items: ItemTable, cluster_U: Int64, users: int) -> People:
        """Sorts the media by cluster."""
        cluster_M = cluster_U[items.author_row_M]
        ends = np.cumsum(np.bincount(cluster_M, minlength=int(cluster_U.max()) + 1))[:-1]
        return cls(items, tuple(np.split(np.argsort(cluster_M, kind="stable"), ends)), users)

    @property
    def user_ids(self) -> list[str]:
        """Of all users."""
        return [f"user-{number}" for number in range(self.users)]

    def state(self, number: int) -> UserState:
        """One user: profile, up to 1,000 actions, counters, what was seen, and relations to accounts."""
        draw, items = np.random.default_rng([_SEED, number]), self.items
        clusters = draw.choice(len(self.by_cluster), min(_INTERESTS, len(self.by_cluster)), replace=False)
        interesting = draw.permutation(np.concatenate([self.by_cluster[cluster] for cluster in clusters]))
        liked = interesting[np.sort(np.unique(items.author_row_M[interesting], return_index=True)[1])][: LIKES + HIDES]
        avoided = items.account_id_U[items.author_row_M[interesting[-6:]]]
        account_ids = items.account_id_U[draw.integers(0, len(items.account_id_U), 64)]
        counts_A = np.zeros(N_ACTIONS, dtype=np.uint32)
        counts_A[1:] = draw.lognormal(4, 1, N_ACTIONS - 1)
        counts_A[Action.IMPRESSION] = 4 * counts_A.sum()
        return UserState(
            Profile(NOW_MS - int(draw.integers(1, 900)) * DAY_MS, 60, 40, "", int(account_ids[0])),
            self._history(interesting, liked, draw),
            counts_A,
            self._seen(interesting, draw),
            {
                Relation.FOLLOWED: np.unique(account_ids[4:]),
                Relation.MUTED: np.unique(np.append(avoided[:3], account_ids[1])),
                Relation.BLOCKED: np.unique(np.append(avoided[3:], account_ids[2:4])),
            },
            RecentCounts(NOW_MS - HOUR_MS, draw.gamma(2.0, 3.0, (N_WINDOWS, N_ACTIONS))),
        )

    def _history(self, interesting: Int64, liked: Int64, draw: np.random.Generator) -> NDArray[np.void]:
        """The newest actions as sourcing's job has them, likes of 30 authors among them; before them a long tail of others."""
        clicks = max(HISTORY_LENGTH - LIKES - HIDES, CLICKS)
        newest = np.concatenate([liked, draw.choice(interesting, clicks)])
        actions = [Action.LIKE] * LIKES + [Action.HIDE] * HIDES + [Action.CLICK] * clicks
        order = draw.permutation(len(newest))
        count = int(min(draw.lognormal(np.log(_OLDER_MEDIAN), _OLDER_SPREAD), LONG_HISTORY_LENGTH - len(newest)))
        own_X = draw.random(count) < 0.7
        older = np.where(own_X, draw.choice(interesting, count), draw.integers(0, len(self.items.media_id_M), count))
        kinds, shares = zip(*_OLDER_ACTIONS.items(), strict=True)
        history = np.empty(count + len(newest), dtype=HISTORY_RECORD)
        history["media_id"] = self.items.media_id_M[np.concatenate([older, newest[order]])]
        history["action"] = np.concatenate(
            [draw.choice([int(kind) for kind in kinds], count, p=shares), np.array(actions)[order]]
        )
        ages = draw.integers(2 * DAY_MS, 60 * DAY_MS, count), draw.integers(HOUR_MS, 2 * DAY_MS, len(newest))
        history["time_ms"] = np.concatenate([np.sort(NOW_MS - age) for age in ages])
        return history

    def _seen(self, interesting: Int64, draw: np.random.Generator) -> Int64:
        count = int(draw.integers(*_SEEN))
        rows = np.concatenate([interesting[: count // 2], draw.integers(0, len(self.items.media_id_M), count // 2)])
        return self.items.media_id_M[draw.permutation(np.unique(rows))]

    def load(self, client: Valkey, report: Steps) -> None:
        """Writes all users into an empty Valkey."""
        with report.step("users into Valkey") as progress:
            for start in range(0, self.users, _LOAD_AT_ONCE):
                numbers = range(start, min(start + _LOAD_AT_ONCE, self.users))
                with client.pipeline(transaction=False) as pipeline:
                    for number, fields in self._fields(numbers):
                        pipeline.hset(user_key(f"user-{number}"), mapping=fields)
                    pipeline.execute()
                progress(numbers[-1] + 1, self.users)

    def _fields(self, numbers: range) -> Iterator[tuple[int, dict[str, bytes | int]]]:
        return ((number, encode(self.state(number))) for number in numbers)
