"""The RankingService that prerank, rank and rerank share: they differ in the scorer they hold. Shapes as in `scorer.py`."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc.aio
import numpy as np

from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from features.schema import Stage
from protos.explore.v1 import ranking_pb2, ranking_pb2_grpc
from serving import tracing
from serving.bundle_follower import BundleFollower, Source
from serving.columns import RankBatch
from serving.config import ServiceConfig
from serving.holder import Held, Holder
from serving.scorer import Scorer, Weights
from serving.selection import select
from serving.server import Service
from serving.service_readings import USERS
from serving.telemetry import Telemetry
from serving.wire import decode_rank_request, encode_rank_response
from serving.worker import MAX_WAITING, Worker

RANKING = "explore.v1.RankingService"

_MOST_TOLD, _TASK_CHARS = 100, 64  # of unknown tasks: what callers may make us remember and write into the log

_log = logging.getLogger(__name__)


class RankingServicer(ranking_pb2_grpc.RankingServiceServicer):
    """Decodes, scores in one worker thread (onnxruntime releases the GIL), keeps the best of each user, encodes."""

    def __init__(
        self,
        stage: str,
        scorers: Holder[Scorer],
        telemetry: Telemetry,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._stage = stage
        self._scorers = scorers
        self._telemetry = telemetry
        self._worker = Worker(stage, max_waiting)
        self._unknown_tasks: set[tuple[str, str]] = set()

    async def Rank(self, request: ranking_pb2.RankRequest, context: Any) -> ranking_pb2.RankResponse:
        """The RPC. Every error it raises is one of `serving.errors`, or the scorer's own."""
        start = time.perf_counter()
        batch = decode_rank_request(request)
        held = self._scorers.held(batch.bundle_version)
        weight_BT = self._weights(held, batch)
        with tracing.step("score"):
            scored = await self._worker.run_within(
                context.time_remaining(), held.value.score, batch.contexts, batch.candidates, weight_BT
            )
        ranked = select(self._stage, scored, held.value.tasks, batch, held.version)
        elapsed = time.perf_counter() - start
        self._telemetry.observe_stage(self._stage, "ok", elapsed)
        self._telemetry.observe(USERS, len(weight_BT), self._stage)
        return encode_rank_response(replace(ranked, total_us=round(elapsed * 1e6)))

    async def close(self) -> None:
        """Ends the worker; what waits is dropped."""
        self._worker.close()

    def _weights(self, held: Held[Scorer], batch: RankBatch) -> Weights:
        """The tables as a matrix. Tasks that this bundle does not predict count as 0: an arm may be ahead of a bundle."""
        tasks = held.value.tasks
        for name in {task for table in batch.weights for task in table}.difference(tasks) if tasks else ():
            task = name[:_TASK_CHARS]
            if len(self._unknown_tasks) < _MOST_TOLD and (held.version, task) not in self._unknown_tasks:
                self._unknown_tasks.add((held.version, task))
                extra = {"task": task, "version": held.version}
                _log.warning("weight for a task that is not predicted", extra=extra)
        rows = [[table.get(task, 0.0) for task in tasks] for table in batch.weights]
        return np.array(rows, np.float64).reshape(len(rows), len(tasks))


def ranking_service(
    stage: str,
    scorers: Holder[Scorer],
    load: Callable[[], Awaitable[None]],
    telemetry: Telemetry,
) -> Service:
    """The service of one ranking stage; `load` puts a scorer into `scorers`."""
    servicer = RankingServicer(stage, scorers, telemetry)

    def register(server: grpc.aio.Server) -> None:
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(servicer, server)

    return Service((RANKING,), register, load, servicer.close, scorers.versions, pin=scorers.pin)


def build_with(
    stage: Stage, open_scorer: Callable[[Bundle, int], Scorer]
) -> Callable[[ServiceConfig, Telemetry], Service]:
    """The composition root of a ranking service whose scorer `open_scorer` makes from a bundle and a number of threads."""

    def build(config: ServiceConfig, telemetry: Telemetry) -> Service:
        scorers = Holder[Scorer](config.bundle_pin_s)
        follower = BundleFollower(
            Source(BundleStore(config.bundle_root), FINGERPRINT, parts=layout.PARTS[stage]),
            lambda bundle: open_scorer(bundle, config.onnx_threads),
            scorers,
            config.bundle_poll_s,
        )
        service = ranking_service(stage, scorers, follower.load, telemetry)
        return replace(service, follow=follower.follow, note=follower.note, refused=follower.refused)

    return build
