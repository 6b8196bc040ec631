"""What a caller sees when a servicer raises, over a real channel."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving import admission
from serving.admission import DO_NOT_RETRY, Calls, Door, Priority, Queue
from serving.concurrency import Bounds, ConcurrencyLimit
from serving.config import ServiceConfig
from serving.errors import Expired, InvalidArgument, Overloaded, StageContractViolation
from serving.interceptors import (
    PUSHBACK,
    AdmissionInterceptor,
    ErrorInterceptor,
    OnceInterceptor,
    TelemetryInterceptor,
)
from serving.ranking import RANKING
from serving.server import ServerHandle
from serving.telemetry import CALL, MemoryTelemetry, NoTelemetry
from serving.testing import FakeClock, serve
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


def calls(telemetry: MemoryTelemetry) -> list[tuple[str, str, int]]:
    lines = [line for line in telemetry.snapshot() if line.measure == CALL.name]
    return [(line.labels["method"], line.labels["status"], line.count) for line in lines]


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
    assert calls(telemetry) == [(METHOD, "CANCELLED", 1)]


@pytest.mark.parametrize(
    ("error", "outcome"), [(InvalidArgument("keep", "is 0"), "INVALID_ARGUMENT"), (KeyError(), "INTERNAL")]
)
async def test_failed_calls_are_counted_by_status(error: Exception, outcome: str) -> None:
    telemetry = MemoryTelemetry()
    await failure_of(error, telemetry=telemetry)
    assert calls(telemetry) == [(METHOD, outcome, 1)]


async def test_a_refusal_is_with_its_caller_before_the_event_loop_turns_again() -> None:
    """Why its time ends where gRPC is given the status: what `abort` then waits for does not hold the caller up."""
    told, in_time = threading.Event(), list[bool]()

    async def refuse(request: RankRequest, context: Any) -> RankResponse:
        asyncio.get_running_loop().call_soon(
            lambda: in_time.append(told.wait(60))
        )  # as long as that, nothing else runs here
        raise Overloaded("too much")

    def ask(port: int) -> grpc.StatusCode:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(METHOD, None, None)(b"", timeout=120)
        told.set()
        return refused.value.code()

    server = ServerHandle(ServiceConfig(listen="127.0.0.1:0", drain_s=0.01), answering(refuse), NoTelemetry())
    await server.start()
    try:
        await server.ready.wait()
        assert await asyncio.to_thread(ask, server.port) is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await server.stop()
    assert in_time == [True]


async def test_the_time_of_a_call_that_is_turned_away_ends_when_its_status_is_given_to_grpc() -> None:
    clock, telemetry = FakeClock(), MemoryTelemetry()

    async def refuse(request: bytes, context: Any) -> None:
        clock.advance(0.25)
        raise Overloaded("too much")

    async def abort(*answer: Any) -> None:
        clock.advance(8.0)
        raise grpc.aio.AbortError

    handler = ErrorInterceptor().wrap(grpc.unary_unary_rpc_method_handler(refuse), METHOD)
    measured = TelemetryInterceptor(telemetry, now=clock).wrap(handler, METHOD)
    context = SimpleNamespace(abort=abort, code=lambda: grpc.StatusCode.RESOURCE_EXHAUSTED)
    with pytest.raises(grpc.aio.AbortError):
        await measured.unary_unary(b"", context)
    (line,) = [line for line in telemetry.snapshot() if line.measure == CALL.name]
    assert (line.count, line.mean_s) == (1, 0.25)


async def test_good_calls_are_counted_as_ok() -> None:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        return RankResponse(bundle_version="v")

    telemetry = MemoryTelemetry()
    async with serve(answering(answer), telemetry) as channel:
        for _ in range(3):
            await channel.unary_unary(METHOD, None, None)(b"")
    assert calls(telemetry) == [(METHOD, "OK", 3)]


@asynccontextmanager
async def full(
    calls: Calls | None = None, began: list[str] | None = None, **settings: Any
) -> AsyncIterator[tuple[grpc.aio.Channel, asyncio.Event]]:
    """A service in which a call runs until the event is set, one at a time; `began` gets their ids as they go on."""
    entered, gate = asyncio.Event(), asyncio.Event()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        entered.set()
        await gate.wait()
        if began is not None:
            began.append(request.request_id)
        return RankResponse(bundle_version="v")

    service = replace(answering(answer), calls=calls or Calls())
    settings = {"limit_floor": 1, "limit_ceiling": 1, "queue_length": 0, **settings}
    async with serve(service, **settings) as channel:
        first = channel.unary_unary(METHOD, None, None)(b"")
        await entered.wait()
        yield channel, gate
        gate.set()
        await first


def pushbacks(error: Any) -> list[int]:
    return [int(value) for key, value in error.trailing_metadata() or () if key == PUSHBACK]


async def test_a_shed_call_learns_whether_to_come_back_and_is_not_even_parsed() -> None:
    async with full() as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(METHOD, None, None)(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "RankingService is overloaded: 0 calls are waiting" in str(caught.value.details())
    (told,) = pushbacks(caught.value)
    assert told == DO_NOT_RETRY or told > 0


async def test_errors_that_say_nothing_about_coming_back_send_no_pushback() -> None:
    failure = await failure_of(Overloaded("rank has 64 calls waiting"))
    assert pushbacks(failure) == []


async def test_health_and_status_answer_although_everything_else_is_shed() -> None:
    async with full() as (channel, _):
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
        status = await StatusServiceStub(channel).GetStatus(GetStatusRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert status.not_ready_reason == ""


class ByName(Calls):
    """A call whose bytes end with "low" is of low priority; `both` is set when two came after the first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.both = asyncio.Event()

    def priority(self, method: str, data: bytes) -> Priority:
        self.asked.append((method, data))
        if len(self.asked) == 3:
            self.both.set()
        return Priority.LOW if data.endswith(b"low") else Priority.HIGH


async def test_the_service_says_which_calls_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "LOW_LATER_S", 60.0)  # however slow this machine is
    calls, began = ByName(), list[str]()
    low, high = (RankRequest(request_id=name).SerializeToString() for name in ("low", "high"))
    async with full(calls, began, queue_length=8) as (channel, gate):
        method = channel.unary_unary(METHOD, None, None)
        waiting = [method(low), method(high)]
        await calls.both.wait()
        gate.set()
        await asyncio.gather(*waiting)
    assert sorted(calls.asked[1:]) == sorted([(METHOD, low), (METHOD, high)])
    assert began == ["", "high", "low"]  # as the service saw it: answers may overtake each other on their way back


class Late:
    """The context of a call whose time was over when it came."""

    def time_remaining(self) -> float:
        return 0.0


async def test_a_call_that_comes_too_late_is_answered_without_work() -> None:
    async def never(request: bytes, context: Any) -> bytes:
        raise AssertionError("it began")

    door = Door(RANKING, ConcurrencyLimit(Bounds()), Queue(), NoTelemetry())
    handler = AdmissionInterceptor({RANKING: door}, Calls()).wrap(grpc.unary_unary_rpc_method_handler(never), METHOD)
    with pytest.raises(Expired):
        await handler.unary_unary(b"", Late())
    assert (await failure_of(Expired("too late"))).code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_calls_that_pass_by_take_no_place() -> None:
    class Waiting(Calls):
        def passes_by(self, method: str) -> bool:
            return method == METHOD

    async def answer(request: bytes, context: Any) -> bytes:
        return b"answered"

    full = Door(RANKING, ConcurrencyLimit(Bounds(floor=1, ceiling=1)), Queue(length=0), NoTelemetry())
    wrap = AdmissionInterceptor({RANKING: full}, Waiting()).wrap
    handler = grpc.unary_unary_rpc_method_handler(answer)
    async with full.pass_through(Priority.HIGH, None):
        assert await wrap(handler, METHOD).unary_unary(b"", Late()) == b"answered"
        with pytest.raises(Expired):
            await wrap(handler, METHOD + "Other").unary_unary(b"", Late())


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
            held = [each for each in gc.get_objects() if type(each) is RankRequest]  # isinstance asks lazy modules, too
            assert "forget me" not in [each.request_id for each in held]
        finally:
            gc.enable()


async def test_what_a_method_becomes_is_asked_once_and_nothing_is_kept_of_methods_that_there_are_not() -> None:
    asked: list[str] = []
    handlers = {"/a": object(), "/b": object()}

    async def continuation(details: grpc.HandlerCallDetails) -> Any:
        asked.append(details.method)
        return handlers.get(details.method)

    once = OnceInterceptor()
    for method in ("/a", "/b", "/none", "/a", "/none"):
        details: Any = SimpleNamespace(method=method)
        assert await once.intercept_service(continuation, details) is handlers.get(method)
    assert asked == ["/a", "/b", "/none", "/none"]
