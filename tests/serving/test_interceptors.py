"""What a caller sees when a servicer raises, over a real channel."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.errors import InvalidArgument, Overloaded, StageContractViolation
from serving.ranking import RANKING
from serving.telemetry import MemoryTelemetry
from serving.testing import serve
from tests.serving.doubles import answering, raising

METHOD = f"/{RANKING}/Rank"


async def failure_of(error: BaseException, request: bytes = b"", telemetry: MemoryTelemetry | None = None) -> Any:
    async with serve(raising(error), telemetry) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(METHOD, None, None)(request)
    return caught.value


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("keep[0]", "is 0"), grpc.StatusCode.INVALID_ARGUMENT),
        (Overloaded("too much"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (StageContractViolation("rank", "score", "is nan"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_our_errors_arrive_with_their_status_and_message(error: Exception, status: grpc.StatusCode) -> None:
    failure = await failure_of(error)
    assert (failure.code(), failure.details()) == (status, str(error))


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the interceptor logged; channels that an earlier test left to the garbage collector may complain beside it."""
    return [
        record for record in caplog.records if record.name == "serving.interceptors" and record.levelno == logging.ERROR
    ]


async def test_unexpected_error_leaks_nothing_but_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    failure = await failure_of(KeyError("secret"))
    assert failure.code() is grpc.StatusCode.INTERNAL
    incident = failure.details().removeprefix("internal error, incident ")
    (record,) = errors(caplog)
    assert (vars(record)["incident"], vars(record)["method"]) == (incident, METHOD)
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


async def test_broken_contract_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await failure_of(StageContractViolation("rank", "score", "is nan"))
    assert [vars(record)["error"] for record in errors(caplog)] == ["rank broke its contract: score is nan"]


async def test_bytes_that_are_no_message_are_the_callers_mistake() -> None:
    failure = await failure_of(KeyError(), request=b"\xff\xff")
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.details() == f"request is not a message that {METHOD} takes"


async def test_status_that_a_servicer_chose_is_kept() -> None:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "twice")
        return RankResponse()

    async with serve(answering(answer)) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="twice") as caught:
            await channel.unary_unary(METHOD, None, None)(b"")
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_cancellation_reaches_the_servicer() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return RankResponse()

    telemetry = MemoryTelemetry()
    async with serve(answering(answer), telemetry) as channel:
        call = channel.unary_unary(METHOD, None, None)(b"")
        await entered.wait()
        call.cancel()
        await cancelled.wait()
    assert [line.outcome for line in telemetry.snapshot()] == ["CANCELLED"]


@pytest.mark.parametrize(
    ("error", "outcome"), [(InvalidArgument("keep", "is 0"), "INVALID_ARGUMENT"), (KeyError(), "INTERNAL")]
)
async def test_failed_calls_are_counted_by_status(error: Exception, outcome: str) -> None:
    telemetry = MemoryTelemetry()
    await failure_of(error, telemetry=telemetry)
    assert [(line.name, line.outcome, line.count) for line in telemetry.snapshot()] == [(METHOD, outcome, 1)]


async def test_good_calls_are_counted_as_ok() -> None:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        return RankResponse(bundle_version="v")

    telemetry = MemoryTelemetry()
    async with serve(answering(answer), telemetry) as channel:
        for _ in range(3):
            await channel.unary_unary(METHOD, None, None)(b"")
    assert [(line.outcome, line.count) for line in telemetry.snapshot()] == [("OK", 3)]


@pytest.mark.parametrize("make", [lambda: InvalidArgument("keep", "is 0"), KeyError])
async def test_a_refused_request_is_forgotten_without_the_garbage_collector(
    make: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("serving.interceptors"), "disabled", True)  # pytest keeps what is logged

    async def refuse(request: RankRequest, context: Any) -> RankResponse:
        raise make()

    async with serve(answering(refuse)) as channel:
        call = channel.unary_unary(METHOD, None, None)
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"")  # opens the connection
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(grpc.aio.AioRpcError):
                await call(RankRequest(request_id="forget me").SerializeToString())
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")  # the server has done with the one before
            held = [each for each in gc.get_objects() if isinstance(each, RankRequest)]
            assert [each.request_id for each in held if each.request_id] == []
        finally:
            gc.enable()
