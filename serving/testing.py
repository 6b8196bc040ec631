"""Doubles for tests of anything that talks gRPC: a real server on a free loopback port, and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from serving.channels import open_channel
from serving.config import ServiceConfig
from serving.holder import Holder
from serving.ranking import ranking_service
from serving.scorer import Scorer
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry, Telemetry


class FakeClock:
    """A clock, in seconds, that moves only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds


@asynccontextmanager
async def serve(
    service: Service, telemetry: Telemetry | None = None, **settings: Any
) -> AsyncIterator[grpc.aio.Channel]:
    """Serves on 127.0.0.1 with every interceptor of production and gives a channel once the service is ready."""
    config = ServiceConfig(**{"listen": "127.0.0.1:0", "drain_s": 0.01, "bundle_retry_s": 0.01, **settings})
    server = ServerHandle(config, service, telemetry or NoTelemetry())
    await server.start()
    try:
        await server.ready.wait()
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        await server.stop()


def ranking_double(scorer: Scorer, version: str = "test", stage: str = "rank") -> Service:
    """A RankingService that answers with `scorer` from the start."""
    scorers = Holder[Scorer]()

    async def load() -> None:
        scorers.put(version, scorer)

    return ranking_service(stage, scorers, load, NoTelemetry())
