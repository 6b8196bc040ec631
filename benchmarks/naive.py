"""The cascade as one writes it first: plain functions in one process, the graphs as exported, one request at a time.

What our own stages are measured against. Sourcing is the plain loop of benchmarks/sourcing_loop.py, which reads the same stored
neighbours (a search for each of 30 seeds would cost several times as much); features are those of benchmarks/naive_features.py; a
graph runs on one thread, as one that uses every core takes more CPU time for the same answer. What it shares with the product is
what lies on disk and in Valkey, and how that is read.

Shapes: N candidates of one user, K item embedding, L history slots, S related slots, T tasks.
"""

from __future__ import annotations

import gc
import json
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import valkey.asyncio
from numpy.typing import NDArray

from benchmarks.naive_features import Features, User
from benchmarks.sourcing_loop import Asker, PlainLoop
from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.context import HISTORY_LENGTH, UserContexts
from features.counters import HOUR_MS
from features.exposures import Exposure
from features.item_table import ItemTable
from features.related import RELATED_SLOTS
from features.user_state import UserStateStore
from retrieval_svc.catalogue import Catalogue

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]

SIZES = (500, 150, 50, 25)
_DECAY, _FLOOR = 0.5, 0.25  # of the diversity rule


@dataclass(frozen=True)
class Item:
    """One item of a page."""

    media_id: int
    author_id: int
    value: float


@dataclass
class Candidates:
    """N candidates, best first."""

    row_N: Int64
    author_N: Int64
    seed_N: Int64  # -1 where no account led to it

    def take(self, place_M: Int64) -> Candidates:
        return Candidates(self.row_N[place_M], self.author_N[place_M], self.seed_N[place_M])


class Naive:
    """The whole cascade on one bundle."""

    def __init__(self, bundle: Bundle, valkey_url: str) -> None:
        self._loop = PlainLoop(Catalogue.open(bundle))
        gc.freeze()  # no collection visits its millions of objects: that would be unfair
        self._items = ItemTable.open(bundle.path / layout.ITEMS)
        self._features = Features(self._items)
        self._embeddings = [
            np.load(bundle.path / layout.RERANK_EMBEDDINGS / f"{name}.npy", mmap_mode="r")
            for name in ("media", "account", "topic", "unknown")
        ]
        self._sessions = {stage: self._session(bundle, stage) for stage in ("prerank", "rank", "rerank")}
        self._names = {stage: json.loads(_about(session)["features"]) for stage, session in self._sessions.items()}
        tasks = json.loads(_about(self._sessions["rerank"])["tasks"])
        weights = bundle.manifest.value_weights["default"]
        self._weight_T = np.array([weights.get(task, 0.0) for task in tasks])
        self._version = bundle.version
        self._client = valkey.asyncio.from_url(valkey_url)
        self._store = UserStateStore(self._client)

    async def page(self, user_id: str, now_ms: int, remember: bool = True) -> list[Item]:
        """The page of one user."""
        state = await self._store.read(user_id)
        contexts = state.context(user_id, now_ms, "explore")
        user = User.of(contexts, self._items)

        candidates = self._source(contexts, state.seen_S)
        candidates = self._prerank(user, candidates)
        candidates = self._rank(user, candidates)
        value_N = self._rerank(user, candidates)
        items = self._diversified(candidates, value_N)

        if remember:
            await self._remember(user_id, now_ms, items)
        return items

    async def close(self) -> None:
        """Closes the connection to Valkey."""
        await self._client.aclose()

    def _session(self, bundle: Bundle, stage: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(str(bundle.path / layout.model(stage)), options)

    def _source(self, contexts: UserContexts, seen_S: Int64) -> Candidates:
        asker = Asker.of(contexts, seen_S)
        asker.history[:] = asker.history[-HISTORY_LENGTH:]
        found = self._loop.candidates(asker, SIZES[0])
        return Candidates(
            np.array([media.number for media, _, _ in found]),
            np.array([media.author.number for media, _, _ in found]),
            np.array([-1 if seed is None else seed.number for _, _, seed in found]),
        )

    def _prerank(self, user: User, candidates: Candidates) -> Candidates:
        dense_NF = self._features.matrix(self._names["prerank"], user, candidates.row_N)
        (score_N,) = self._sessions["prerank"].run(None, {"dense_NF": dense_NF})
        return candidates.take(np.argsort(-score_N, kind="stable")[: SIZES[1]])

    def _rank(self, user: User, candidates: Candidates) -> Candidates:
        dense_NF = self._features.matrix(self._names["rank"], user, candidates.row_N)
        (probability_NT,) = self._sessions["rank"].run(None, {"dense_NF": dense_NF})
        return candidates.take(np.argsort(-(probability_NT @ self._weight_T), kind="stable")[: SIZES[2]])

    def _rerank(self, user: User, candidates: Candidates) -> NDArray[np.float64]:
        row_N = candidates.row_N
        related_NS, action_NS, age_NS = self._related(user, row_N)
        history_L, action_L, age_L = (
            _right_aligned(column_L, HISTORY_LENGTH, empty)
            for column_L, empty in ((user.row_L, -1), (user.action_L, 0), (user.age_ms_L / HOUR_MS, 0.0))
        )
        feed = {
            "dense_NF": self._features.matrix(self._names["rerank"], user, row_N),
            "item_NK": self._embedded(row_N),
            "history_BLK": self._embedded(history_L)[None],
            "history_action_BL": action_L[None],
            "history_age_BL": np.log1p(age_L)[None].astype(np.float32),
            "user_N": np.zeros(len(row_N), dtype=np.int64),
            "related_NSK": self._embedded(related_NS),
            "related_action_NS": action_NS,
            "related_age_NS": np.log1p(age_NS).astype(np.float32),
        }
        (probability_NT,) = self._sessions["rerank"].run(None, feed)
        return probability_NT.astype(np.float64) @ self._weight_T

    def _embedded(self, row_X: Int64) -> Float32:
        """Embeddings of media, author and topic side by side."""
        media_MK, account_UK, topic_TK, unknown_K = self._embeddings
        parts = (media_MK[row_X], account_UK[self._items.author_row_M[row_X]], topic_TK[self._items.topic_M[row_X]])
        return np.where((row_X >= 0)[..., None], np.concatenate(parts, axis=-1), unknown_K)

    def _related(self, user: User, row_N: Int64) -> tuple[Int64, Int64, NDArray[np.float64]]:
        """The newest actions before the newest 50 on media of each candidate's topic."""
        contexts = user.contexts
        rows = self._items.rows(contexts.history_media_id_H[:-HISTORY_LENGTH])
        by_topic = defaultdict(list)
        for place, topic in enumerate(self._items.topic_M[rows].tolist()):
            by_topic[topic].append(place)
        related_NS = np.full((len(row_N), RELATED_SLOTS), -1, dtype=np.int64)
        action_NS, age_NS = np.zeros_like(related_NS), np.zeros(related_NS.shape)
        for n, topic in enumerate(self._items.topic_M[row_N].tolist()):
            places = by_topic[topic][-RELATED_SLOTS:]
            if places:
                related_NS[n, -len(places) :] = rows[places]
                action_NS[n, -len(places) :] = contexts.history_action_H[places]
                age_NS[n, -len(places) :] = (user.now_ms - contexts.history_time_ms_H[places]) / HOUR_MS
        return related_NS, action_NS, age_NS

    def _diversified(self, candidates: Candidates, value_N: NDArray[np.float64]) -> list[Item]:
        """Greedy: the best value after the discounts for an author and a seed account that are on the page already."""
        authors, seeds = candidates.author_N.tolist(), candidates.seed_N.tolist()
        order = sorted(range(len(authors)), key=lambda n: -value_N[n])
        taken_authors, taken_seeds = defaultdict[int, int](int), defaultdict[int, int](int)
        items: list[Item] = []
        while order and len(items) < SIZES[3]:
            best, best_value = order[0], -np.inf
            for n in order:
                factor = _factor(taken_authors[authors[n]])
                if seeds[n] >= 0:
                    factor *= _factor(taken_seeds[seeds[n]])
                value = value_N[n] * factor if value_N[n] >= 0 else value_N[n] / factor
                if value > best_value:
                    best, best_value = n, value
            order.remove(best)
            taken_authors[authors[best]] += 1
            taken_seeds[seeds[best]] += 1
            media_id = int(self._items.media_id_M[candidates.row_N[best]])
            items.append(Item(media_id, int(self._items.account_id_U[authors[best]]), float(value_N[best])))
        return items

    async def _remember(self, user_id: str, now_ms: int, items: list[Item]) -> None:
        count = len(items)
        media_K = np.array([item.media_id for item in items])
        exposure = Exposure(
            uuid.uuid4().hex,
            user_id,
            now_ms,
            "explore",
            {},
            1.0,
            self._version,
            media_K,
            np.arange(count),
            np.ones(count),
        )
        await self._store.remember(exposure)


def open_naive(bundle_root: Path, valkey_url: str) -> Naive:
    """On the active bundle."""
    store = BundleStore(bundle_root)
    return Naive(store.open(store.active_version(), None), valkey_url)


def _about(session: onnxruntime.InferenceSession) -> dict[str, str]:
    return session.get_modelmeta().custom_metadata_map


def _right_aligned(column_L: NDArray[Any], length: int, empty: float) -> NDArray[Any]:
    return np.pad(column_L, (length - len(column_L), 0), constant_values=empty)


def _factor(already: int) -> float:
    return (1 - _FLOOR) * _DECAY**already + _FLOOR
