"""Messages to the engine and back. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from features.shards import WHOLE, Shard
from protos.explore.v1 import retrieval_pb2, retrieval_pb2_grpc
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.named import UnknownQuery
from retrieval_svc.sourced import SourcingReports
from retrieval_svc.together import Part, TooManySources, candidates_of
from serving import tracing
from serving.errors import InvalidArgument
from serving.holder import Holder
from serving.ragged import Int64
from serving.service_readings import USERS
from serving.telemetry import Telemetry
from serving.wire import RetrieveBatch, decode_retrieve_request, encode_candidates, encode_unmixed
from serving.wire.unmixed import MAX_LISTS
from serving.worker import MAX_WAITING, Worker

STAGE = "retrieval"

Answer = Callable[[RetrievalEngine, RetrieveBatch, Sequence[Int64]], retrieval_pb2.RetrieveResponse]


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Decodes, sources in one worker thread so that the event loop stays free, encodes."""

    def __init__(
        self,
        engines: Holder[RetrievalEngine],
        max_count: int,
        telemetry: Telemetry,
        max_waiting: int = MAX_WAITING,
        shard: Shard = WHOLE,
    ) -> None:
        self._engines, self._max_count, self._telemetry, self._shard = engines, max_count, telemetry, shard
        self._worker = Worker(STAGE, max_waiting)

    async def Retrieve(self, request: retrieval_pb2.RetrieveRequest, context: Any) -> retrieval_pb2.RetrieveResponse:
        """The RPC. Every error it raises on purpose is one of `serving.errors`."""
        start = time.perf_counter()
        batch = decode_retrieve_request(request)
        self._check_counts(batch)
        held = self._engines.held(batch.bundle_version)
        answer = _answer_unmixed if batch.unmixed else _answer
        with tracing.step("source"):
            response = await self._within(context.time_remaining(), batch, answer, held.value)
        response.bundle_version = held.version
        response.shard_index, response.shard_count = self._shard.index, self._shard.count
        elapsed = time.perf_counter() - start
        response.elapsed_us = round(elapsed * 1e6)
        self._telemetry.observe_stage(STAGE, "ok", elapsed)
        self._telemetry.observe(USERS, len(batch.count_B), STAGE)
        return response

    async def close(self) -> None:
        """Ends the worker; what waits is dropped."""
        self._worker.close()

    def _check_counts(self, batch: RetrieveBatch) -> None:
        if (batch.count_B > self._max_count).any():
            b = int(np.argmax(batch.count_B > self._max_count))
            raise InvalidArgument(f"counts[{b}]", f"is {batch.count_B[b]}, must be at most {self._max_count}")

    async def _within(
        self, left_s: float | None, batch: RetrieveBatch, answer: Answer, engine: RetrievalEngine
    ) -> retrieval_pb2.RetrieveResponse:
        seen_B = np.split(batch.seen.media_id_S, batch.seen.offsets[1:-1])
        try:
            return await self._worker.run_within(left_s, answer, engine, batch, seen_B)
        except UnknownQuery as error:
            raise InvalidArgument(f"queries[{batch.queries_B.index(error.name)}]", str(error)) from error


def _answer(engine: RetrievalEngine, batch: RetrieveBatch, seen_B: Sequence[Int64]) -> retrieval_pb2.RetrieveResponse:
    parts = engine.retrieve_by_query(batch.contexts, seen_B, batch.count_B, batch.queries_B)
    try:
        candidates = candidates_of(parts)
    except TooManySources as error:
        raise InvalidArgument("queries", str(error)) from error
    return retrieval_pb2.RetrieveResponse(candidates=encode_candidates(candidates), reports=reports_in_order(parts))


def _answer_unmixed(
    engine: RetrievalEngine, batch: RetrieveBatch, seen_B: Sequence[Int64]
) -> retrieval_pb2.RetrieveResponse:
    lists, reports = engine.lists(batch.contexts, seen_B, batch.count_B, batch.queries_B[0])
    if lists.more_BL.shape[1] > MAX_LISTS:
        problem = f"the query mixes {lists.more_BL.shape[1]} lists, at most {MAX_LISTS} fit into an unmixed answer"
        raise InvalidArgument("unmixed", problem)
    return retrieval_pb2.RetrieveResponse(
        candidates=encode_candidates(lists.candidates), reports=encode_reports(reports), unmixed=encode_unmixed(lists)
    )


def encode_reports(reports: SourcingReports) -> list[retrieval_pb2.SourcingReport]:
    """One message per user; reasons that dropped nothing are left out."""
    proposed_BS, kept_BS, dropped_BSR = (
        array.tolist() for array in (reports.proposed_BS, reports.kept_BS, reports.dropped_BSR)
    )
    return [
        retrieval_pb2.SourcingReport(
            sources=[
                retrieval_pb2.SourceReport(
                    source=source.name,
                    path=source.path,
                    proposed=proposed_S[s],
                    kept=kept_S[s],
                    dropped={reason: n for reason, n in zip(reports.reasons, dropped_SR[s], strict=True) if n},
                )
                for s, source in enumerate(reports.sources)
            ]
        )
        for proposed_S, kept_S, dropped_SR in zip(proposed_BS, kept_BS, dropped_BSR, strict=True)
    ]


def reports_in_order(parts: Sequence[Part]) -> list[retrieval_pb2.SourcingReport]:
    """The reports of all queries, in the order of the users of the call."""
    by_user = {
        user: report
        for part in parts
        for user, report in zip(part.user_X.tolist(), encode_reports(part.sourced.reports), strict=True)
    }
    return [by_user[user] for user in range(len(by_user))]
