"""What everything that runs for a call knows of it, without any tracer."""

from __future__ import annotations

import asyncio
import json
import logging
from contextvars import copy_context

import grpc
import pytest

from serving import tracing
from serving.channels import RankCalls
from serving.errors import StageFailed
from serving.logs import JsonLines
from serving.telemetry import CALL, Histogram, MemoryTelemetry
from serving.testing import serve
from serving.tracing import NO_SPAN, Kind, UnrecordedSpan
from tests.serving.batches import rank_request
from tests.serving.doubles import raising

SPAN = UnrecordedSpan("a" * 32, "b" * 16, (("traceparent", "00-x"),))


class KeptLines(logging.Handler):
    """Formats as production does, in the moment of logging."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = list[dict[str, object]]()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(JsonLines().format(record)))


def test_without_a_tracer_nothing_is_sent_along_and_nothing_is_logged() -> None:
    assert tracing.current() is NO_SPAN
    assert (tracing.outgoing(), tracing.log_fields(), tracing.sampled_trace_id()) == ({}, {}, "")
    with tracing.step("rank") as span, tracing.calling("s/M", "no address at all", "first") as call:
        assert span is call is NO_SPAN


def test_children_of_what_is_not_recorded_are_itself() -> None:
    with tracing.running(SPAN), tracing.step("rank"):
        assert tracing.current() is SPAN
        assert tracing.outgoing() == {"metadata": (("traceparent", "00-x"),)}
        assert SPAN.child("x", Kind.CLIENT, {}, ()) is SPAN
    assert tracing.current() is NO_SPAN


async def test_calls_at_the_same_time_do_not_mix_their_ids() -> None:
    async def call(name: str) -> dict[str, str]:
        with tracing.running(UnrecordedSpan(name * 32, name * 16)):
            tracing.name_request(name)
            await asyncio.sleep(0)
            return tracing.log_fields()

    found = await asyncio.gather(*(asyncio.create_task(call(name)) for name in "123"))
    assert found == [{"request_id": n, "trace_id": n * 32, "span_id": n * 16} for n in "123"]


def test_a_request_id_that_a_caller_made_up_is_cut() -> None:
    def call() -> None:
        with tracing.running(SPAN):
            tracing.name_request("")
            assert "request_id" not in tracing.log_fields()
            tracing.name_request("x" * 100_000)
            assert len(tracing.log_fields()["request_id"]) == 1024

    copy_context().run(call)  # every call has a context of its own
    assert "request_id" not in tracing.log_fields()


@pytest.mark.parametrize("address", ["[::1]:50051", "10.0.0.1:50051", "rank:50051"])
def test_an_address_is_told_as_host_and_port(address: str) -> None:
    found = tracing.rpc("explore.v1.RankingService/Rank", address)
    assert (found["server.address"], found["server.port"]) == (address.rpartition(":")[0].strip("[]"), 50051)


def test_a_socket_is_told_by_its_path_and_has_no_port() -> None:
    assert tracing.rpc("s/M", "unix:/run/rank.sock") == {
        "rpc.system.name": "grpc",
        "rpc.method": "s/M",
        "server.address": "/run/rank.sock",
    }


async def test_a_log_line_in_the_middle_of_a_call_names_its_request() -> None:
    kept, logger = KeptLines(), logging.getLogger("serving.interceptors")
    logger.addHandler(kept)
    request = rank_request([[1.0]])
    request.request_id = "r-17"
    try:
        async with serve(raising(ZeroDivisionError())) as channel:
            with pytest.raises(StageFailed):
                await RankCalls(channel, "rank").rank(request, 5.0)
    finally:
        logger.removeHandler(kept)
    (line,) = [line for line in kept.lines if line["message"] == "call failed"]
    assert (line["request_id"], "trace_id" in line) == ("r-17", False)


async def test_the_tracer_begins_the_span_that_a_call_is_measured_in() -> None:
    class Span(UnrecordedSpan):
        recorded = True

        def __init__(self) -> None:
            super().__init__("c" * 32, "d" * 16)
            self.said = dict[str, object]()
            self.failed = self.ended = 0

        def set(self, key: str, value: object) -> None:
            self.said[key] = value

        def fail(self, error_type: str) -> None:
            self.failed += 1

        def end(self) -> None:
            self.ended += 1

    from serving.interceptors import TelemetryInterceptor

    class Context:
        def invocation_metadata(self) -> tuple[()]:
            return ()

    class Tracer:
        def server_span(self, method: str, metadata: object) -> Span:
            return span

    span, telemetry = Span(), MemoryTelemetry()

    async def answer(request: object, context: object) -> str:
        return tracing.sampled_trace_id()

    handler = grpc.unary_unary_rpc_method_handler(answer)
    wrapped = TelemetryInterceptor(telemetry, tracer=Tracer()).wrap(handler, "/s/M")
    assert await wrapped.unary_unary(None, Context()) == "c" * 32
    assert (span.said["rpc.response.status_code"], span.failed, span.ended) == ("OK", 0, 1)
    (reading,) = telemetry.readings()
    assert isinstance(reading.value, Histogram)
    assert reading.measure is CALL
    assert [exemplar.trace_id for exemplar in reading.value.exemplars.values()] == ["c" * 32]
