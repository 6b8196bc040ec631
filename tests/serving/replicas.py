"""Replicas of a ranking stage in this process, on real ports: they answer, hang, refuse, die and come back as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.call_policy import CallPolicy
from serving.channels import StageConnection
from serving.config import ServiceConfig
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from serving.tls import TlsDirectory
from tests.serving.doubles import Answer, answering

NO_HEDGES = CallPolicy(hedge_quantile=None, batch_users=1)


async def all_rows(request: RankRequest, context: Any) -> RankResponse:
    """Keeps every candidate in the order of the request."""
    offsets = list(request.candidates.offsets)
    rows = offsets[-1] if offsets else 0
    return RankResponse(
        offsets=offsets,
        row=np.arange(rows, dtype="<u4").tobytes(),
        score=np.zeros(rows, "<f4").tobytes(),
        bundle_version=request.bundle_version,
    )


async def hang(request: RankRequest, context: Any) -> RankResponse:
    """Never answers."""
    return await asyncio.get_running_loop().create_future()


class Replica:
    """One server. `answer` may be changed while it runs."""

    def __init__(self, answer: Answer = all_rows, **settings: Any) -> None:
        self.answer, self._settings = answer, settings
        self.requests: list[RankRequest] = []
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()
        self.address = "127.0.0.1:0"
        self._server: ServerHandle | None = None

    async def start(self, *, ready: bool = True) -> None:
        """Opens the port, the same one as before if there was one. Without `ready`, health says NOT_SERVING for good."""

        async def load() -> None:
            if not ready:
                await asyncio.get_running_loop().create_future()

        service = replace(answering(self._answer), load=load)
        config = ServiceConfig(**{"listen": self.address, "drain_s": 0.01, **self._settings})
        self._server = ServerHandle(config, service, NoTelemetry())
        await self._server.start()
        self.address = f"127.0.0.1:{self._server.port}"
        if ready:
            await self._server.ready.wait()

    async def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def _answer(self, request: RankRequest, context: Any) -> RankResponse:
        self.requests.append(request)
        self.entered.set()
        try:
            return await self.answer(request, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@asynccontextmanager
async def running(*replicas: Replica, ready: bool = True) -> AsyncIterator[str]:
    """Starts them and gives their addresses as one list."""
    try:
        for replica in replicas:
            await replica.start(ready=ready)
        yield ",".join(replica.address for replica in replicas)
    finally:
        for replica in replicas:
            await replica.stop()


@asynccontextmanager
async def connected(
    addresses: str, policy: CallPolicy = NO_HEDGES, tls: TlsDirectory | None = None
) -> AsyncIterator[StageConnection]:
    """A connection whose endpoints have all been tried once."""
    connection = StageConnection("rank", addresses, policy, 1 << 24, tls)
    try:
        for _, channel in connection.replicas.endpoints():
            await settled(channel)
        yield connection
    finally:
        await connection.close()


async def settled(channel: Any) -> Any:
    """Returns the state of a channel once it is either connected or known not to be."""
    while (state := channel.get_state(try_to_connect=True)).name not in {"READY", "TRANSIENT_FAILURE"}:
        await channel.wait_for_state_change(state)
    return state
