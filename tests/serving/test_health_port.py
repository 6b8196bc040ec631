"""The plain-text port that kubelet asks, on real servers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.explore.v1 import ranking_pb2, ranking_pb2_grpc, status_pb2, status_pb2_grpc
from serving.config import ServiceConfig
from serving.errors import BindError
from serving.health import LIVE
from serving.ranking import RANKING
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from tests.serving.doubles import answering
from tests.serving.test_server import NOT_SERVING, SERVING, health_of, hello

PROBED = (LIVE, "", RANKING)


@asynccontextmanager
async def probed(loaded: asyncio.Event) -> AsyncIterator[tuple[ServerHandle, grpc.aio.Channel]]:
    """A server that is ready once `loaded` is set, and a channel to its health port."""

    async def load() -> None:
        await loaded.wait()

    config = ServiceConfig(listen="127.0.0.1:0", health_listen="127.0.0.1:0", drain_s=30.0)
    server = ServerHandle(config, replace(answering(hello), load=load), NoTelemetry())
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        yield server, channel
    await server.stop()


async def test_a_process_without_a_bundle_is_alive_but_not_ready() -> None:
    loaded = asyncio.Event()
    async with probed(loaded) as (server, channel):
        assert [await health_of(channel, name) for name in PROBED] == [SERVING, NOT_SERVING, NOT_SERVING]
        loaded.set()
        await server.ready.wait()
        assert [await health_of(channel, name) for name in PROBED] == [SERVING] * 3


async def test_the_main_port_says_the_same() -> None:
    async with (
        probed(asyncio.Event()) as (server, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        assert [await health_of(channel, name) for name in PROBED] == [SERVING, NOT_SERVING, NOT_SERVING]


async def test_nothing_but_health_is_served_there() -> None:
    loaded = asyncio.Event()
    loaded.set()
    async with probed(loaded) as (server, channel):
        await server.ready.wait()
        calls = (
            ranking_pb2_grpc.RankingServiceStub(channel).Rank(ranking_pb2.RankRequest()),
            status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest()),
        )
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_it_answers_while_calls_drain_and_not_afterwards() -> None:
    loaded = asyncio.Event()
    loaded.set()
    async with probed(loaded) as (server, channel):
        await server.ready.wait()
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=RANKING))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await server.stop()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_health_address_in_use_names_it() -> None:
    async with probed(asyncio.Event()) as (server, _):
        taken = f"127.0.0.1:{server.health_port}"
        config = ServiceConfig(listen="127.0.0.1:0", health_listen=taken)
        with pytest.raises(BindError, match=f"cannot listen on {taken}"):
            await ServerHandle(config, answering(hello), NoTelemetry()).start()


async def test_without_the_setting_there_is_no_second_port() -> None:
    server = ServerHandle(ServiceConfig(listen="127.0.0.1:0"), answering(hello), NoTelemetry())
    await server.start()
    assert server.port != 0
    assert server.health_port == 0
    await server.stop()
