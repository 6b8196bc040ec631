"""Messages to the engine and back. Decides nothing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from protos.explore.v1 import retrieval_pb2, retrieval_pb2_grpc
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.sourced import Sourced, SourcingReports
from serving.errors import InvalidArgument
from serving.holder import Holder
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
        sourced = await self._retrieve(held.value, batch, context.time_remaining())
        response = retrieval_pb2.RetrieveResponse(
            candidates=encode_candidates(sourced.candidates),
            bundle_version=held.version,
            reports=encode_reports(sourced.reports),
        )
        elapsed = time.perf_counter() - start
        response.elapsed_us = round(elapsed * 1e6)
        self._telemetry.observe_stage(STAGE, "ok", elapsed)
        return response

    async def close(self) -> None:
        """Ends the worker; what waits is dropped."""
        self._worker.close()

    def _check_counts(self, batch: RetrieveBatch) -> None:
        if (batch.count_B > self._max_count).any():
            b = int(np.argmax(batch.count_B > self._max_count))
            raise InvalidArgument(f"counts[{b}]", f"is {batch.count_B[b]}, must be at most {self._max_count}")

    async def _retrieve(self, engine: RetrievalEngine, batch: RetrieveBatch, left_s: float | None) -> Sourced:
        seen_B = np.split(batch.seen.media_id_S, batch.seen.offsets[1:-1])
        return await self._worker.run_within(left_s, engine.retrieve, batch.contexts, seen_B, batch.count_B)


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
