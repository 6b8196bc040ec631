"""A server called past its port: what a caller notices is what it notices over the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.call_policy import CallPolicy
from serving.channels import RankCalls, StageConnection
from serving.config import ServiceConfig
from serving.errors import BundleNotHeld, DeadlineExceeded, InvalidArgument, Overloaded, StageFailed, Unavailable
from serving.interceptors import PUSHBACK
from serving.server import ServerHandle
from serving.telemetry import CALL, MemoryTelemetry
from tests.serving.doubles import answering

Answer = Callable[[RankRequest, Any], Awaitable[RankResponse]]


async def hello(request: RankRequest, context: Any) -> RankResponse:
    return RankResponse(bundle_version=request.bundle_version)


@asynccontextmanager
async def running(answer: Answer = hello, **settings: Any) -> AsyncIterator[tuple[ServerHandle, MemoryTelemetry]]:
    telemetry = MemoryTelemetry()
    config = ServiceConfig(**{"listen": "127.0.0.1:0", "drain_s": 0.01, **settings})
    server = ServerHandle(config, answering(answer), telemetry)
    await server.start()
    try:
        await server.ready.wait()
        yield server, telemetry
    finally:
        await server.stop()


def connected(server: ServerHandle) -> StageConnection:
    def open_channel(address: str, *others: Any, **named: Any) -> Any:
        return server.local_channel()

    return StageConnection("rank", "10.0.0.1:1", CallPolicy(), 1 << 20, open_channel=open_channel)


async def statuses(server: ServerHandle, request: RankRequest, timeout_s: float = 5.0) -> list[Any]:
    """Code, details and trailing metadata of a failing call, past the port and over it."""
    found = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as network:
        for channel in (server.local_channel(), network):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await RankingServiceStub(channel).Rank(request, timeout=timeout_s)
            metadata: Any = failed.value.trailing_metadata() or ()
            trailing: dict[str, str] = dict(metadata)
            found.append((failed.value.code(), failed.value.details(), trailing.get(PUSHBACK)))
    return found


async def test_an_answer_is_the_servers_and_counts_as_a_call() -> None:
    async with running() as (server, telemetry):
        connection = connected(server)
        answer = await RankCalls(connection, "rank").rank(RankRequest(bundle_version="v3"), 5.0)
        assert answer.bundle_version == "v3"
        calls = [line.labels for line in telemetry.snapshot() if line.measure == CALL.name]
        assert calls == [{"method": "/explore.v1.RankingService/Rank", "status": "OK"}]
        await connection.close()


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("users", "is empty"),
        BundleNotHeld("v9", ["v8"]),
        Overloaded("full", 250),
        Unavailable("x", "gone"),
    ],
)
async def test_errors_have_the_same_status_details_and_pushback_as_over_the_network(error: Exception) -> None:
    async def fails(request: RankRequest, context: Any) -> RankResponse:
        raise error

    async with running(fails) as (server, _):
        here, there = await statuses(server, RankRequest())
        assert here == there


async def test_a_bug_is_an_internal_error_and_nobodys_exception() -> None:
    async def buggy(request: RankRequest, context: Any) -> RankResponse:
        raise ZeroDivisionError

    async with running(buggy) as (server, _):
        connection = connected(server)
        with pytest.raises(StageFailed, match="INTERNAL"):
            await RankCalls(connection, "rank").rank(RankRequest(), 5.0)
        await connection.close()


async def test_a_call_ends_with_its_deadline_and_so_does_the_work() -> None:
    ended = asyncio.Event()

    async def hangs(request: RankRequest, context: Any) -> RankResponse:
        assert 0 < context.time_remaining() <= 0.05
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with running(hangs) as (server, _):
        connection = connected(server)
        with pytest.raises(DeadlineExceeded):
            await RankCalls(connection, "rank").rank(RankRequest(), 0.05)
        await asyncio.wait_for(ended.wait(), 5)
        await connection.close()


async def test_a_caller_that_goes_away_takes_the_work_along() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def hangs(request: RankRequest, context: Any) -> RankResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with running(hangs) as (server, _):
        call = RankingServiceStub(server.local_channel()).Rank(RankRequest(), timeout=5)
        task = asyncio.ensure_future(call)
        await began.wait()
        task.cancel()
        await asyncio.wait_for(ended.wait(), 5)


async def test_what_the_door_sheds_is_shed_here_too() -> None:
    release = asyncio.Event()

    async def slow(request: RankRequest, context: Any) -> RankResponse:
        await release.wait()
        return RankResponse()

    async with running(slow, limit_floor=1, limit_ceiling=1, queue_length=0) as (server, _):
        stub = RankingServiceStub(server.local_channel())
        first = asyncio.ensure_future(stub.Rank(RankRequest(), timeout=5))
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Rank(RankRequest(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        release.set()
        await first


async def test_a_server_that_stops_is_down_for_its_callers() -> None:
    async with running() as (server, _):
        connection = connected(server)
        status = await StatusServiceStub(server.local_channel()).GetStatus(GetStatusRequest(), timeout=5)
        assert status.not_ready_reason == ""
        assert connection.replicas.usable() == 1
    assert connection.replicas.usable() == 0
    await connection.close()


async def test_a_method_that_nobody_serves_is_said_to_be_none() -> None:
    async with running() as (server, _):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await server.local_channel().unary_unary("/explore.v1.Nobody/Asks")(RankRequest(), timeout=5)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
