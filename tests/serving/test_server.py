"""Port, health, readiness and drain, in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from bundles.errors import BundleCorrupt
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.channels import RankCalls, open_channel
from serving.config import ServiceConfig
from serving.errors import BindError, Unavailable
from serving.ranking import RANKING
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry
from tests.serving.doubles import answering

SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


async def hello(request: RankRequest, context: Any) -> RankResponse:
    return RankResponse(bundle_version="hello")


def config(**changes: Any) -> ServiceConfig:
    return ServiceConfig(**{"listen": "127.0.0.1:0", "bundle_retry_s": 0.01, "drain_s": 30.0, **changes})


@asynccontextmanager
async def running(
    load: Callable[[], Awaitable[None]] | None = None, answer: Any = hello, **changes: Any
) -> AsyncIterator[tuple[ServerHandle, grpc.aio.Channel]]:
    """A server and a plain channel, which sends calls whatever health says."""
    service = answering(answer)
    server = ServerHandle(config(**changes), replace(service, load=load) if load else service, NoTelemetry())
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield server, channel
    await server.stop()


async def health_of(channel: grpc.aio.Channel, service: str = "") -> str:
    response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))


async def test_keepalive_pings_do_not_end_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as fast as in production. gRPC forgives two pings by itself: the third one, after 3 s, ended connections."""
    monkeypatch.setattr("serving.server.MIN_PING_MS", 500)
    pings = [("grpc.keepalive_time_ms", 1_000), ("grpc.http2.max_pings_without_data", 0)]
    async with (
        running() as (server, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=pings) as channel,
    ):
        await server.ready.wait()
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(TimeoutError):  # no change, and no end either
            await asyncio.wait_for(watching.read(), 3.5)


def watch(channel: grpc.aio.Channel) -> AsyncIterator[str]:
    async def names() -> AsyncIterator[str]:
        async for response in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=RANKING)):
            yield health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)

    return names()


async def collect(statuses: AsyncIterator[str]) -> list[str]:
    return [status async for status in statuses]


@pytest.mark.parametrize("service", ["", RANKING])
async def test_health_is_serving_only_after_loading(service: str) -> None:
    loaded = asyncio.Event()

    async def load() -> None:
        await loaded.wait()

    async with running(load) as (server, channel):
        assert await health_of(channel, service) == NOT_SERVING
        assert not server.ready.is_set()
        loaded.set()
        await server.ready.wait()
        assert await health_of(channel, service) == SERVING


async def test_health_of_a_service_that_is_not_here_is_not_found() -> None:
    async with running() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(channel, "explore.v1.Other")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_loading_is_tried_again_until_the_bundle_is_repaired(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[Exception] = [BundleCorrupt("v1", "items.npy", "is missing"), KeyError("bug")]

    async def load() -> None:
        if failures:
            raise failures.pop(0)

    async with running(load) as (server, channel):
        await server.ready.wait()
        assert await health_of(channel) == SERVING
    first, second = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert first.getMessage().startswith("not ready: bundle v1: items.npy: is missing")
    assert first.exc_info is None
    assert second.exc_info is not None


async def test_watcher_sees_every_change_and_does_not_hold_up_the_drain() -> None:
    loaded = asyncio.Event()

    async def load() -> None:
        await loaded.wait()

    async with running(load) as (server, channel):
        statuses = watch(channel)
        assert await anext(statuses) == NOT_SERVING
        loaded.set()
        assert await anext(statuses) == SERVING
        last = asyncio.create_task(collect(statuses))
        async with asyncio.timeout(10):  # the drain time is 30 s
            await server.stop()
        assert await last == [NOT_SERVING]


async def test_running_call_ends_during_the_drain() -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        entered.set()
        await gate.wait()
        return RankResponse(bundle_version="late")

    async with running(answer=answer) as (server, channel):
        await server.ready.wait()
        statuses = watch(channel)
        assert await anext(statuses) == SERVING
        call = asyncio.create_task(RankCalls(channel, "rank").rank(RankRequest(), 30.0))
        await entered.wait()
        stopping = asyncio.create_task(server.stop())
        assert await anext(statuses) == NOT_SERVING
        assert not stopping.done()
        gate.set()
        assert (await call).bundle_version == "late"
        await stopping


async def test_call_that_outlasts_the_drain_is_cut() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return RankResponse()

    async with running(answer=answer, drain_s=0.05) as (server, channel):
        await server.ready.wait()
        call = asyncio.create_task(RankCalls(channel, "rank").rank(RankRequest(), 30.0))
        await entered.wait()
        await server.stop()
        with pytest.raises(Unavailable):
            await call
        await cancelled.wait()


async def test_server_that_never_got_ready_stops_at_once() -> None:
    async def load() -> None:
        await asyncio.Event().wait()

    async with running(load) as (server, channel):
        statuses = watch(channel)
        assert await anext(statuses) == NOT_SERVING
        async with asyncio.timeout(10):
            await server.stop()


async def test_stopping_closes_the_service_once_calls_have_ended() -> None:
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    server = ServerHandle(config(), replace(answering(hello), close=close), NoTelemetry())
    await server.start()
    await server.stop()
    assert closed.is_set()


async def test_taken_port_is_a_bind_error() -> None:
    async with running() as (server, _):
        second = ServerHandle(config(listen=f"127.0.0.1:{server.port}"), answering(hello), NoTelemetry())
        with pytest.raises(BindError, match=f"cannot listen on 127.0.0.1:{server.port}: in use"):
            await second.start()


@pytest.mark.parametrize("enabled", [True, False])
async def test_reflection_lists_the_services_if_enabled(enabled: bool) -> None:
    async def requests() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async def names(channel: grpc.aio.Channel) -> list[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        return [s.name async for r in stub.ServerReflectionInfo(requests()) for s in r.list_services_response.service]

    async with running(reflection=enabled) as (_, channel):
        if enabled:
            assert RANKING in await names(channel)
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await names(channel)


async def test_message_beyond_the_limit_is_refused() -> None:
    async with running(max_message_mb=1) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{RANKING}/Rank", None, None)(b"\x0a" * (1 << 20 | 1))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_clients_connect_anew_after_a_while_and_no_call_fails() -> None:
    peers = set[str]()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        peers.add(context.peer())
        return RankResponse()

    async with running(answer=answer, connection_age_s=0.1) as (server, _):
        await server.ready.wait()
        async with open_channel(f"127.0.0.1:{server.port}") as channel, asyncio.timeout(30):
            client = RankCalls(channel, "rank")
            while len(peers) < 3:
                await asyncio.gather(*(client.rank(RankRequest(), 10.0) for _ in range(4)))


async def test_a_connection_may_last_for_ever() -> None:
    """A second count that gRPC's milliseconds cannot hold means no end, and is no reason to fail."""
    async with running(connection_age_s=1e9, connection_grace_s=1e12) as (server, _):
        await server.ready.wait()


async def test_service_without_anything_to_load_is_ready() -> None:
    server = ServerHandle(config(), Service(("explore.v1.Nothing",), lambda _: None), NoTelemetry())
    await server.start()
    await server.ready.wait()
    await server.stop()
