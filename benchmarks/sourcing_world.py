"""The bundle and the users of benchmarks/sourcing.py: random, but shaped as accounts and media are, and the same in every run.

Vectors lie in clusters inside topics, a few accounts post most of the media, and a user likes accounts of a few clusters. The files
come from training's own builders and are kept, since neighbours of 200,000 accounts take minutes.

Shapes: M media, U accounts, C clusters, V users, E account vector.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from bundles import layout
from cli.progress import Report, steps
from features.actions import N_ACTIONS, Action
from features.context import UserContexts
from features.counters import DAY_MS, HOUR_MS
from features.item_features import save_items
from features.item_table import ItemTable
from features.relations import Relation
from features.user_state import HISTORY_RECORD, SEEN_LENGTH, Profile, UserState
from training.event_log import EventLog
from training.progress import Steps
from training.sourcing import write_sourcing

Int64 = NDArray[np.int64]

NOW_MS = 1_750_000_000_000
LIKES, CLICKS, HIDES = 30, 10, 2
_SEED, _FORM = 20_240, 1  # raise _FORM when a world of the same size becomes another
_DIM, _TOPICS, _POLICY_FLAGS = 64, 50, ("nudity", "spam")
_CLUSTER_SHARE, _OWN_SHARE = (
    0.8,
    0.9,
)  # of an account's vector, beside 1 of its topic: cosines of about 0.65 within a cluster
_ZIPF = 0.7  # exponent of media per account by place: the busiest of 200,000 posts thousands, half of them at most two
_DAYS = 60
_INTERESTS = 8  # clusters that a user likes
_BUILT = "built.json"


@dataclass(frozen=True)
class Size:
    """How large the world is."""

    accounts: int = 200_000
    media: int = 1_000_000
    clusters: int = 500
    users: int = 64
    media_dim: int = 1  # of media vectors; with 1 there are none, which is enough for a job that asks for none


@dataclass(frozen=True)
class Built:
    """One step of building, as measured when the files were made."""

    step: str
    wall_s: float
    cpu_s: float  # of all cores


@dataclass(frozen=True)
class World:
    """The files of a bundle, and those who ask."""

    size: Size
    directory: Path
    built: tuple[Built, ...]
    index_kind: str
    index_recall: float
    contexts: tuple[UserContexts, ...]
    seen_V: tuple[Int64, ...]  # media ids

    def file(self, relative: str) -> Path:
        """Where a path inside the bundle lies."""
        return self.directory / relative


def make_world(size: Size, cache: Path) -> World:
    """The world of that size; its files are made where `cache` lacks them."""
    vectors = f"-{size.media_dim}" if size.media_dim > 1 else ""
    directory = cache / f"{size.accounts}-{size.media}-{size.clusters}-{_SEED}-{_FORM}{vectors}"
    done = directory / _BUILT  # written last: a build that was cut short is made again
    if not done.exists():
        done.write_text(json.dumps(_build(size, directory)), encoding="utf-8")
    about = json.loads(done.read_text(encoding="utf-8"))
    cluster_U = np.load(directory / "cluster_U.npy")
    contexts, seen = _users(ItemTable.open(directory / layout.ITEMS), cluster_U, size)
    built = tuple(Built(**step) for step in about["steps"])
    return World(size, directory, built, about["index_kind"], about["index_recall"], contexts, seen)


def _build(size: Size, directory: Path) -> dict[str, object]:
    """Makes the files on all cores, showing how far each step is."""
    directory.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    with steps() as bars:
        timed = Timed(bars)
        with timed.step("accounts and media"):
            items, cluster_U = make_items(size, np.random.default_rng(_SEED))
            save_items(items, directory / layout.ITEMS)
            np.save(directory / "cluster_U.npy", cluster_U)
        nobody = pl.DataFrame(schema={"user_id": pl.String})
        quality = write_sourcing(items, no_events(items), nobody, directory, timed, vectors_until_ms=NOW_MS)
    torch.set_num_threads(threads)
    index = quality.account_index
    return {"steps": timed.measured, "index_kind": index.kind, "index_recall": index.recall}


class Timed:
    """Passes steps on, and measures them."""

    def __init__(self, bars: Steps) -> None:
        self._bars = bars
        self.measured: list[dict[str, object]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Report]:
        wall, cpu = time.perf_counter(), time.process_time()
        with self._bars.step(name) as report:
            yield report
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        self.measured.append({"step": name, **{key: round(value, 2) for key, value in spent.items()}})


def make_items(size: Size, draw: np.random.Generator) -> tuple[ItemTable, Int64]:
    """The item table, and the cluster of every account."""
    accounts, media = size.accounts, size.media
    cluster_U = draw.integers(0, size.clusters, accounts)
    weight_U = draw.permutation(np.arange(1, accounts + 1) ** -_ZIPF)
    author_row_M = draw.choice(accounts, media, p=weight_U / weight_U.sum()).astype(np.int32)
    counts_MA = np.zeros((media, N_ACTIONS), dtype=np.float32)
    counts_MA[:, Action.IMPRESSION] = np.ceil(draw.lognormal(4.0, 1.2, media))
    shares = ((Action.CLICK, 0.3), (Action.LONG_VIEW, 0.15), (Action.LIKE, 0.08), (Action.SAVE, 0.01))
    for action, share in shares:
        appeal_M = np.clip(share * draw.lognormal(0, 0.5, media), 0, 1)
        counts_MA[:, action] = draw.binomial(counts_MA[:, Action.IMPRESSION].astype(np.int64), appeal_M)
    account_counts_UA = np.zeros((accounts, N_ACTIONS), dtype=np.float32)
    for code in range(N_ACTIONS):
        account_counts_UA[:, code] = np.bincount(author_row_M, weights=counts_MA[:, code], minlength=accounts)
    items = ItemTable(
        as_of_ms=NOW_MS,
        topics=tuple(f"topic-{t}" for t in range(_TOPICS)),
        policy_flags=_POLICY_FLAGS,
        media_id_M=np.cumsum(draw.integers(1, 9, media)),
        author_row_M=author_row_M,
        topic_M=(cluster_U % _TOPICS)[author_row_M].astype(np.int32),
        created_at_ms_M=NOW_MS - draw.integers(0, _DAYS * DAY_MS, media),
        duration_ms_M=np.full(media, 9_000, dtype=np.float32),
        non_recommendable_M=draw.beta(1, 12, media).astype(np.float32),
        policy_flags_M=np.where(draw.random(media) < 0.02, draw.integers(1, 4, media), 0).astype(np.uint32),
        counts_MA=counts_MA,
        recent_counts_MA=(counts_MA * draw.random((media, 1), dtype=np.float32)).astype(np.float32),
        media_vector_MD=_media_vectors(size, cluster_U[author_row_M], draw),
        base_rate_A=(counts_MA.sum(axis=0) / counts_MA[:, Action.IMPRESSION].sum()).astype(np.float32),
        account_id_U=np.cumsum(draw.integers(1, 9, accounts)),
        account_counts_UA=account_counts_UA,
        account_recent_counts_UA=account_counts_UA,
        account_n_media_U=np.bincount(author_row_M, minlength=accounts).astype(np.float32),
        account_vector_UE=_vectors(cluster_U, size.clusters, draw),
    )
    return items, cluster_U


def _media_vectors(size: Size, cluster_M: Int64, draw: np.random.Generator) -> NDArray[np.float32]:
    if size.media_dim == 1:
        return np.zeros((size.media, 1), dtype=np.float32)
    return _vectors(cluster_M, size.clusters, draw)[:, : size.media_dim]


def _vectors(cluster_U: Int64, clusters: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Unit vectors: a topic's direction, a cluster's and an account's own. Shape [U, E]."""

    def directions(count: int) -> NDArray[np.float32]:
        return draw.standard_normal((count, _DIM), dtype=np.float32) / np.float32(_DIM**0.5)

    centre_CE = directions(_TOPICS)[np.arange(clusters) % _TOPICS] + _CLUSTER_SHARE * directions(clusters)
    vector_UE = centre_CE[cluster_U] + _OWN_SHARE * directions(len(cluster_U))
    return (vector_UE / np.linalg.norm(vector_UE, axis=1, keepdims=True)).astype(np.float32)


def no_events(items: ItemTable) -> EventLog:
    """The log of a catalogue that nobody acted on: the sources of the job read no list that comes from a log."""
    nothing = pl.DataFrame(schema={"media_id": pl.Int64, "author_id": pl.Int64})
    log = EventLog.from_parts((), 0, (), nothing)
    return replace(log, media_id_M=items.media_id_M, account_id_U=items.account_id_U)


def _users(items: ItemTable, cluster_U: Int64, size: Size) -> tuple[tuple[UserContexts, ...], tuple[Int64, ...]]:
    draw = np.random.default_rng(_SEED + 1)
    cluster_M = cluster_U[items.author_row_M]
    by_cluster = np.split(
        np.argsort(cluster_M, kind="stable"), np.cumsum(np.bincount(cluster_M, minlength=size.clusters))[:-1]
    )
    contexts, seen = [], []
    for number in range(size.users):
        rows = np.concatenate([by_cluster[c] for c in draw.choice(size.clusters, _INTERESTS, replace=False)])
        rows = draw.permutation(rows)
        liked = rows[np.unique(items.author_row_M[rows], return_index=True)[1]]  # one per author
        liked = draw.permutation(liked)[: LIKES + HIDES]
        other = draw.choice(size.media, CLICKS, replace=False)
        own_account, *related = items.account_id_U[draw.choice(size.accounts, 9, replace=False)].tolist()
        state = UserState(
            Profile(account_id=own_account),
            _history(items, liked, other, draw),
            np.zeros(N_ACTIONS, dtype=np.uint32),
            _seen(items, rows, draw),
            # Some of the avoided accounts post what this user would be given.
            {
                Relation.FOLLOWED: np.array(related[:4]),
                Relation.MUTED: _with_authors(items, rows[:3], related[4:6]),
                Relation.BLOCKED: _with_authors(items, rows[3:6], related[6:]),
            },
        )
        contexts.append(state.context(f"user-{number}", NOW_MS + number, "explore"))
        seen.append(state.seen_S)
    return tuple(contexts), tuple(seen)


def _with_authors(items: ItemTable, rows: Int64, account_ids: list[int]) -> Int64:
    return np.unique(np.append(items.account_id_U[items.author_row_M[rows]], account_ids))


def _history(items: ItemTable, liked: Int64, clicked: Int64, draw: np.random.Generator) -> NDArray[np.void]:
    """Actions of the last two days, oldest first: likes of 30 authors, some clicks, and a few authors hidden."""
    rows = np.concatenate([liked, clicked])
    actions = [Action.LIKE] * LIKES + [Action.HIDE] * HIDES + [Action.CLICK] * len(clicked)
    times = np.sort(NOW_MS - draw.integers(HOUR_MS, 2 * DAY_MS, len(rows)))
    order = draw.permutation(len(rows))
    history = [
        (int(items.media_id_M[rows[i]]), int(actions[i]), int(time)) for i, time in zip(order, times, strict=True)
    ]
    return np.array(history, dtype=HISTORY_RECORD)


def _seen(items: ItemTable, interesting: Int64, draw: np.random.Generator) -> Int64:
    """As many as are remembered: half of them what the user is interested in, so that the rule has something to drop."""
    half = min(SEEN_LENGTH // 2, len(interesting))
    rows = np.concatenate([interesting[:half], draw.choice(len(items.media_id_M), SEEN_LENGTH - half, replace=False)])
    return items.media_id_M[draw.permutation(np.unique(rows))]
