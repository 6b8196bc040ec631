"""Scorers and services that misbehave on request."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import numpy as np

from features.context import UserContexts
from protos.explore.v1 import ranking_pb2_grpc
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.columns import CandidateColumns, Float32
from serving.ranking import RANKING
from serving.scorer import Scored, Weights, expected_value_N
from serving.server import Service

Answer = Callable[[RankRequest, Any], Awaitable[RankResponse]]


def answering(answer: Answer) -> Service:
    """A RankingService whose Rank is `answer`."""

    class Servicer(ranking_pb2_grpc.RankingServiceServicer):
        async def Rank(self, request: RankRequest, context: Any) -> RankResponse:
            return await answer(request, context)

    def register(server: grpc.aio.Server) -> None:
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(Servicer(), server)

    return Service((RANKING,), register)


def raising(error: BaseException) -> Service:
    """A RankingService that always raises."""

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        raise error

    return answering(answer)


class TasteScorer:
    """A small real model: a user likes media whose id is near the last one in the history. Unknown media: id above 1000."""

    tasks = ("click", "negative")

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        last_B = np.array(
            [
                contexts.history_media_id_H[end - 1] if end > start else 0
                for start, end in zip(contexts.history_offsets[:-1], contexts.history_offsets[1:], strict=True)
            ]
        )
        distance_N = np.abs(candidates.media_id_N - np.repeat(last_B, np.diff(candidates.offsets)))
        click_N = 1 / (1 + distance_N.astype(np.float32))
        probability_NT = np.stack([click_N, 1 - click_N], axis=1)
        value_N = expected_value_N(probability_NT, weight_BT, candidates.offsets)
        value_N[candidates.media_id_N > 1000] = np.nan
        return Scored(value_N, probability_NT, features_us=3, model_us=4)


class FixedScorer:
    """Answers with what the test gives, whatever it is."""

    def __init__(
        self,
        score_N: Any,
        probability_NT: Float32 | None = None,
        tasks: tuple[str, ...] = (),
        dense_NF: Float32 | None = None,
    ) -> None:
        self.tasks = tasks
        self._scored = Scored(score_N, probability_NT, features_us=0, model_us=0, dense_NF=dense_NF)

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        return self._scored


class Untimed:
    """The context of a caller that waits for ever."""

    def time_remaining(self) -> float | None:
        return None


class GatedScorer:
    """Blocks its worker until `gate` is set; `entered` tells that it is blocked, `scored` how often it was asked."""

    tasks: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.scored = 0

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        self.scored += 1
        self.entered.set()
        self.gate.wait()
        return Scored(candidates.score_N, None, features_us=0, model_us=0)
