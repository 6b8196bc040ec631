"""What a failing stage becomes on the caller's side."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import grpc
import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.call_policy import CallPolicy
from serving.channels import RankCalls, RetrievalClient, open_channel
from serving.errors import BundleNotHeld, CallError, DeadlineExceeded, Overloaded, StageFailed, Unavailable
from serving.testing import serve
from serving.wire import RetrieveAsk
from tests.serving.doubles import answering
from tests.serving.replicas import Replica, connected, hang, running


async def failing(status: grpc.StatusCode) -> CallError:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        await context.abort(status, "because")
        return RankResponse()

    async with serve(answering(answer)) as channel:
        with pytest.raises(CallError) as caught:
            await RankCalls(channel, "rerank").rank(RankRequest(bundle_version="v5"), 5.0)
    return caught.value


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable, "rerank is unavailable: because"),
        (grpc.StatusCode.CANCELLED, Unavailable, "rerank is unavailable: because"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded, "rerank: because"),
        (grpc.StatusCode.FAILED_PRECONDITION, BundleNotHeld, "bundle_version 'v5' is not held; held: unknown"),
        (grpc.StatusCode.INVALID_ARGUMENT, StageFailed, "rerank failed with INVALID_ARGUMENT: because"),
        (grpc.StatusCode.INTERNAL, StageFailed, "rerank failed with INTERNAL: because"),
    ],
)
async def test_status_of_a_stage_becomes_our_error(
    status: grpc.StatusCode, error: type[CallError], message: str
) -> None:
    failure = await failing(status)
    assert (type(failure), str(failure)) == (error, message)


async def test_stage_that_hangs_costs_its_timeout_and_no_more() -> None:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        await asyncio.Event().wait()
        return RankResponse()

    async with serve(answering(answer)) as channel:
        with pytest.raises(DeadlineExceeded, match="rank did not answer within 50 ms"):
            await RankCalls(channel, "rank").rank(RankRequest(), 0.05)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
async def test_call_without_time_left_is_not_made(timeout_s: float) -> None:
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(DeadlineExceeded):
            await RankCalls(channel, "rank").rank(RankRequest(), timeout_s)


async def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as taken:  # bound but not listening, so nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        async with open_channel(f"127.0.0.1:{taken.getsockname()[1]}") as channel:
            with pytest.raises(Unavailable, match="retrieval is unavailable"):
                await RetrievalClient(channel).retrieve(RetrieveAsk([], []), 5.0)


async def test_method_that_a_server_does_not_have_fails() -> None:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        return RankResponse()

    async with serve(answering(answer)) as channel:
        with pytest.raises(StageFailed, match="UNIMPLEMENTED"):
            await RetrievalClient(channel).retrieve(RetrieveAsk([], []), 5.0)


async def test_cancelling_the_caller_is_no_failure_of_the_stage() -> None:
    entered = asyncio.Event()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        entered.set()
        await asyncio.Event().wait()
        return RankResponse()

    async with serve(answering(answer)) as channel:
        call = asyncio.create_task(RankCalls(channel, "rank").rank(RankRequest(), 30.0))
        await entered.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("replicated", [False, True])
async def test_a_client_that_goes_away_ends_the_calls_made_for_it(replicated: bool) -> None:
    stage = Replica(hang)
    async with running(stage) as address, open_channel(address) as channel, connected(address, CallPolicy()) as several:
        client = RankCalls(several if replicated else channel, "rank")

        async def relay(request: RankRequest, context: Any) -> RankResponse:
            return await client.rank(request, 30.0)

        async with serve(answering(relay)) as front:
            call = asyncio.create_task(RankCalls(front, "gateway").rank(RankRequest(), 30.0))
            await stage.entered.wait()
            call.cancel()
            await stage.cancelled.wait()


async def test_retrieval_is_called_over_replicas_too() -> None:
    async with running(Replica()) as address, connected(address, CallPolicy()) as connection:
        with pytest.raises(StageFailed, match="UNIMPLEMENTED"):
            await RetrievalClient(connection).retrieve(RetrieveAsk([], []), 5.0)
