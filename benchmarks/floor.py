"""The cascade's arithmetic without its network: the product's own stages called one after the other in one process.

Retrieval engine, feature assembly, graphs, selection, value model, diversity and user state are those of the services; there is no
message, no server and no other process but Valkey. One user at a time, or several as coalesced requests share a call.

Shapes: B users, T tasks, K items of a page.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import valkey.asyncio

from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.context import concatenate, newest
from features.dense import FINGERPRINT
from features.schema import Stage
from features.user_state import UserStateStore
from features.valkey_trips import SharedTrips
from gateway.config import GatewayConfig
from gateway.feed import FeedItem, FeedRequest, Page, Standing
from gateway.missed import Missed
from gateway.page import PagePolicy, compose, exposure_of, next_token
from gateway.paging import FIRST_PAGE
from gateway.trace import Trace
from gateway.users import FeedUser, Users
from prerank_svc.scorer import PrerankScorer
from rank_svc.scorer import RankScorer
from rerank_svc.scorer import RerankScorer
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from serving.columns import CandidateColumns, RankBatch, Ranked
from serving.deadline import Budget
from serving.items import open_items
from serving.scorer import Scorer
from serving.selection import select

PATIENCE_S = 60.0  # the floor has no deadline: nothing of it may be skipped
SURFACE = "explore"


@dataclass(frozen=True)
class Asked:
    """One request: who, when, and media to treat as unseen (what a page has shown that is to be made again)."""

    user_id: str
    time_ms: int
    unseen: tuple[int, ...] = ()
    request_id: str = ""  # a new one if left out


class Floor:
    """The stages of one bundle. `seconds` says how long each took, all requests together."""

    def __init__(self, bundle: Bundle, igql_file: Path, valkey_url: str, in_thread: bool = False) -> None:
        """`in_thread`: stages run beside the event loop, as in a service, so that it can take in what comes meanwhile."""
        faiss.omp_set_num_threads(1)
        self._version, self._config = bundle.version, GatewayConfig()
        self._engine = RetrievalEngine(Catalogue.open(bundle), SourcingConfig(igql_file=igql_file))
        self._scorers: Mapping[Stage, Scorer] = {
            Stage.PRERANK: PrerankScorer.open(bundle),
            Stage.RANK: RankScorer.open(bundle),
            Stage.RERANK: RerankScorer.open(bundle),
        }
        self._policy = PagePolicy(bundle.manifest.value_weights["default"], self._config.diversity)
        self._missed = Missed(open_items(bundle), self._config.missed_after_ms, self._config.missed_items)
        self._client = valkey.asyncio.from_url(valkey_url)
        self._users = Users(UserStateStore(SharedTrips(self._client)), PATIENCE_S)
        self._thread = ThreadPoolExecutor(1, "stages") if in_thread else None
        self.seconds: dict[str, float] = {}

    @classmethod
    def open(cls, bundle_root: Path, igql_file: Path, valkey_url: str, in_thread: bool = False) -> Floor:
        """The stages of the active bundle."""
        store = BundleStore(bundle_root)
        return cls(store.open(store.active_version(), FINGERPRINT), igql_file, valkey_url, in_thread)

    async def pages(self, asked: Sequence[Asked], remember: bool = True) -> list[Page]:
        """One page each; several users go through every stage together."""
        budget, trace = Budget(PATIENCE_S), Trace(debug=False)
        requests = [self._request(each) for each in asked]
        with _Timed(self.seconds, "user state"):
            users = await asyncio.gather(*(self._users.load(request, budget, trace) for request in requests))
            users = [_without(user, each.unseen) for user, each in zip(users, asked, strict=True)]
        if self._thread is None:
            standings = self._ranked(users)
        else:
            standings = await asyncio.get_running_loop().run_in_executor(self._thread, self._ranked, users)
        with _Timed(self.seconds, "page"):
            pages = [
                self._page(request, user, standing, trace)
                for request, user, standing in zip(requests, users, standings, strict=True)
            ]
        if remember:
            with _Timed(self.seconds, "user state"):
                shown = zip(requests, pages, strict=True)
                await asyncio.gather(
                    *(
                        self._users.remember(request, exposure_of(request, page), budget, trace)
                        for request, page in shown
                    )
                )
        if trace.degradations:
            raise RuntimeError(f"the floor lost something: {trace.degradations}")
        return pages

    async def close(self) -> None:
        """Closes the connections to Valkey."""
        if self._thread is not None:
            self._thread.shutdown()
        await self._client.aclose()

    def _ranked(self, users: Sequence[FeedUser]) -> list[Standing]:
        contexts, funnel = concatenate([user.contexts for user in users]), self._config.funnel
        with _Timed(self.seconds, "retrieval"):
            recent = newest(contexts, funnel.retrieval.history)
            count_B = np.full(len(users), funnel.retrieval.keep)
            candidates = self._engine.retrieve(recent, [user.seen_S for user in users], count_B).candidates
        ranked: Ranked | None = None
        for stage, scorer in self._scorers.items():
            plan = funnel.plan_of(stage)
            with _Timed(self.seconds, stage.value):
                batch = RankBatch(
                    "",
                    newest(contexts, plan.history),
                    candidates,
                    (self._policy.weights,) * len(users),
                    np.full(len(users), plan.keep),
                    self._version,
                )
                weight_T = [self._policy.weights.get(task, 0.0) for task in scorer.tasks]
                weight_BT = np.array([weight_T] * len(users)).reshape(len(users), len(weight_T))
                scored = scorer.score(batch.contexts, candidates, weight_BT)
                ranked = select(stage, scored, scorer.tasks, batch, self._version)
                candidates = candidates.take(ranked.row_M, ranked.offsets, ranked.score_M)
            self._add(f"{stage.value}: features", scored.features_us / 1e6)
            self._add(f"{stage.value}: model", scored.model_us / 1e6)
        assert ranked is not None
        return [_standing(candidates, ranked, user) for user in range(len(users))]

    def _page(self, request: FeedRequest, user: FeedUser, standing: Standing, trace: Trace) -> Page:
        absence = self._missed.absence(request, user)
        items = compose(standing, request, self._policy, trace, absence)
        return Page(items, self._version, user.cold, next_token(request, items))

    def _request(self, asked: Asked) -> FeedRequest:
        return FeedRequest(
            asked.request_id or uuid.uuid4().hex,
            asked.user_id,
            self._config.page_size,
            SURFACE,
            FIRST_PAGE,
            asked.time_ms,
            debug=False,
        )

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


class _Timed:
    """Adds the wall time of a block."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *exception: Any) -> None:
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + time.perf_counter() - self._start


def _without(user: FeedUser, unseen: Sequence[int]) -> FeedUser:
    if not unseen:
        return user
    return replace(user, seen_S=np.setdiff1d(user.seen_S, np.array(unseen, dtype=np.int64)), _encoded={})


def _standing(candidates: CandidateColumns, ranked: Ranked, user: int) -> Standing:
    """The candidates of one user of a batch."""
    start, end = candidates.offsets[user : user + 2].tolist()
    own = candidates.take(np.arange(start, end), np.array([0, end - start]), candidates.score_N[start:end])
    return Standing(own, ranked.tasks, ranked.probability_MT[start:end])


def ids_and_values(items: Sequence[FeedItem]) -> list[tuple[int, float]]:
    """What two ways of making a page are compared by."""
    return [(item.media_id, math.nan if item.value is None else item.value) for item in items]
