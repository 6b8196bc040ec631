"""Messages to the engine and back. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from protos.explore.v1 import retrieval_pb2, retrieval_pb2_grpc
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.named import UnknownQuery
from retrieval_svc.sourced import SourcingReports
from retrieval_svc.together import Part, TooManySources, candidates_of
from serving import tracing
from serving.errors import InvalidArgument
from serving.holder import Holder
from serving.service_readings import USERS
from serving.telemetry import Telemetry
from serving.wire import RetrieveBatch, decode_retrieve_request, encode_candidates
from serving.worker import MAX_WAITING, Worker

STAGE = "retrieval"


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Decodes, sources in one worker thread so that the event loop stays free, encodes."""

    def __init__(
        self, engines: Holder[RetrievalEngine], max_count: int, telemetry: Telemetry, max_waiting: int = MAX_WAITING
    ) -> None:
        self._engines, self._max_count, self._telemetry = engines, max_count, telemetry
        self._worker = Worker(STAGE, max_waiting)

    async def Retrieve(self, request: retrieval_pb2.RetrieveRequest, context: Any) -> retrieval_pb2.RetrieveResponse:
        """The RPC. Every error it raises on purpose is one of `serving.errors`."""
        start = time.perf_counter()
        batch = decode_retrieve_request(request)
        self._check_counts(batch)
        held = self._engines.held(batch.bundle_version)
        with tracing.step("source"):
            parts = await self._retrieve(held.value, batch, context.time_remaining())
        try:
            candidates = candidates_of(parts)
        except TooManySources as error:
            raise InvalidArgument("queries", str(error)) from error
        response = retrieval_pb2.RetrieveResponse(
            candidates=encode_candidates(candidates), bundle_version=held.version, reports=reports_in_order(parts)
        )
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

    async def _retrieve(self, engine: RetrievalEngine, batch: RetrieveBatch, left_s: float | None) -> list[Part]:
        seen_B = np.split(batch.seen.media_id_S, batch.seen.offsets[1:-1])
        try:
            return await self._worker.run_within(
                left_s, engine.retrieve_by_query, batch.contexts, seen_B, batch.count_B, batch.queries_B
            )
        except UnknownQuery as error:
            raise InvalidArgument(f"queries[{batch.queries_B.index(error.name)}]", str(error)) from error


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
