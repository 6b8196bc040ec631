"""A small funnel of real services, and requests on their way through it, that the tests of the funnel log share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import numpy as np

from features.context import UserContexts
from features.schema import Stage
from features.user_state import EMPTY
from gateway.config import Funnel, StagePlan
from gateway.feed import FeedItem
from gateway.stages import Call
from gateway.trace import Trace
from gateway.users import FeedUser
from serving.channels import RankingClient
from serving.columns import CandidateColumns
from serving.deadline import Budget
from serving.scorer import PassThroughScorer, Scored, Scorer, Weights
from serving.server import Service
from serving.testing import ranking_double, serve
from tests.gateway.feeds import NOW_MS, candidates, feed_request

FUNNEL = Funnel(
    retrieval=StagePlan(keep=5, share=0.5),
    prerank=StagePlan(keep=3, share=0.5),
    rank=StagePlan(keep=2, share=0.5),
    rerank=StagePlan(keep=2, share=0.5),
)
UNKNOWN = 103  # media that no model knows


class MediaScorer:
    """P(like) grows with the media id; its only features are the id, and a number that is always missing. Counts its batches."""

    tasks = ("like",)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score(self, contexts: UserContexts, columns: CandidateColumns, weight_BT: Weights) -> Scored:
        self.batches.append(len(columns))
        probability_N = (columns.media_id_N / 1_000).astype(np.float32)
        probability_N[columns.media_id_N == UNKNOWN] = np.nan
        dense_NF = np.stack([columns.media_id_N, np.full(len(columns), np.nan)], axis=1).astype(np.float32)
        return Scored((probability_N * weight_BT[0, 0]).astype(np.float32), probability_N[:, None], 0, 0, dense_NF)


@asynccontextmanager
async def stages(**other: Scorer | Service) -> AsyncIterator[dict[Stage, RankingClient]]:
    """Clients of three services of bundle v1; prerank passes scores through, the others are `MediaScorer`s."""
    scorers: Mapping[str, Scorer | Service] = {
        "prerank": PassThroughScorer(),
        "rank": MediaScorer(),
        "rerank": MediaScorer(),
        **other,
    }
    async with AsyncExitStack() as stack:
        clients = {}
        for stage in Stage:
            served = scorers[stage]
            service = served if isinstance(served, Service) else ranking_double(served, "v1", stage)
            clients[stage] = RankingClient(await stack.enter_async_context(serve(service)), stage.value)
        yield clients


def call(request_id: str = "r1", sourced: CandidateColumns | None = None) -> Call:
    """Media 100 to 104 on their way: prerank kept 100, 101, 102, rank 100 and 101, the page shows 101."""
    trace = Trace(debug=False)
    trace.source(candidates([0.5, 0.4, float("nan"), 0.2, 0.1], seed=[7, 0, 0, 0, 0]) if sourced is None else sourced)
    trace.kept = {
        "prerank": np.array([100, 101, 102]),
        "rank": np.array([101, 100]),
        "rerank": np.array([101, 100]),
    }
    user = FeedUser(EMPTY.context("42", NOW_MS, ""), np.empty(0, dtype=np.int64))
    request = replace(feed_request(), request_id=request_id)
    return Call(request, user, {"like": 2.0}, "v1", Budget(10), trace)


PAGE = (FeedItem(101, 2, 25, 0.2, 1.0, {"like": 0.1}, "trending", "", 0),)
