"""GetStatus: answers while loading, names what is wrong, and falls silent about it once ready."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from protos.explore.v1.status_pb2 import GetStatusRequest, GetStatusResponse
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.config import ServiceConfig
from serving.errors import StartupError
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry

CONFIG = ServiceConfig(listen="127.0.0.1:0", bundle_retry_s=0.01, drain_s=0.01)


class Loader:
    """Fails until it is told that the bundle was mended."""

    def __init__(self) -> None:
        self.failed, self.mended = asyncio.Event(), False

    async def __call__(self) -> None:
        if not self.mended:
            self.failed.set()
            raise StartupError("rank/model.onnx is broken")


async def _status(port: int) -> GetStatusResponse:
    # A plain channel: ours sends no calls to a server that says NOT_SERVING.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = StatusServiceStub(channel)
        answer: GetStatusResponse = await stub.GetStatus(GetStatusRequest(), timeout=10)
        return answer


async def test_a_service_that_cannot_load_says_why_and_forgets_it_when_ready() -> None:
    loader = Loader()
    service = Service(("explore.v1.RankingService",), lambda _: None, loader, versions=lambda: ["v7", "v6"])
    server = ServerHandle(CONFIG, service, NoTelemetry())
    await server.start()
    await loader.failed.wait()
    await asyncio.sleep(0)  # lets the failure reach the status
    broken = await _status(server.port)
    loader.mended = True
    await server.ready.wait()
    ready = await _status(server.port)
    await server.stop()
    assert (broken.not_ready_reason, ready.not_ready_reason) == ("rank/model.onnx is broken", "")
    assert (ready.bundle_version, ready.service) == ("v7", "explore.v1.RankingService")


async def test_a_ready_service_may_have_something_to_say() -> None:
    notes = iter(["", "default.igql refused"])
    server = ServerHandle(CONFIG, Service((), lambda _: None, note=lambda: next(notes)), NoTelemetry())
    await server.start()
    await server.ready.wait()
    silent, refusing = await _status(server.port), await _status(server.port)
    await server.stop()
    assert (silent.note, refusing.note, refusing.not_ready_reason) == ("", "default.igql refused", "")
