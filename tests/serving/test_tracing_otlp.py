"""Spans as OpenTelemetry's SDK has them: whose child, recorded or not, linked to whom."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving import tracing
from serving.call_policy import CallPolicy
from serving.channels import RankingClient
from serving.coalescing import Coalescer
from serving.columns import Ranked
from serving.config import ServiceConfig
from serving.exporting import exported
from serving.telemetry import MemoryTelemetry
from serving.tracing import NO_SPAN, Span
from serving.tracing_otlp import Origin, OtlpTracer
from serving.wire import RankAsk
from serving.wire.joining import RankJoining
from tests.serving.batches import rank_ask
from tests.serving.replicas import Replica, all_rows, connected, running

METHOD = "/explore.v1.RankingService/Rank"
PARENT = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


class Recorded:
    """A tracer, and the spans that have ended."""

    def __init__(self, share: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        self._tracer = OtlpTracer(SimpleSpanProcessor(self._exporter), share, Origin("gateway", "1", "[::]:50050"))

    def begin(self, *headers: tuple[str, str | bytes], method: str = METHOD) -> Span:
        return self._tracer.server_span(method, headers)

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def ended(self) -> dict[str, ReadableSpan]:
        """By name; of several, the one that ended last."""
        return {each.name: each for each in self.all()}


def test_a_call_is_part_of_the_trace_of_its_caller() -> None:
    recorded = Recorded()
    span = recorded.begin(("user-agent", "x"), ("trace-bin", b"\x00\xff"), PARENT, ("tracestate", "vendor=1"))
    with tracing.running(span):
        assert tracing.sampled_trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert tracing.outgoing()["metadata"] == (
            ("traceparent", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span.span_id}-01"),
            ("tracestate", "vendor=1"),
        )
    (found,) = recorded.ended().values()
    assert found.parent is not None
    assert (f"{found.parent.span_id:016x}", found.name) == ("00f067aa0ba902b7", METHOD[1:])
    assert found.attributes is not None
    assert (found.attributes["server.address"], found.attributes["server.port"]) == ("::", 50050)


@pytest.mark.parametrize("header", ["", "00-zz-1-01", "ff" * 5000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_broken_traceparent_begins_a_new_trace(header: str) -> None:
    recorded = Recorded()
    with tracing.running(recorded.begin(("traceparent", header))) as span:
        assert len(span.trace_id) == 32
    (found,) = recorded.ended().values()
    assert found.parent is None


def test_what_is_not_recorded_hands_on_that_it_is_not() -> None:
    recorded = Recorded(share=0.0)
    with tracing.running(recorded.begin()) as span, tracing.step("a"), tracing.calling("s/M", "h:1", "first"):
        assert tracing.current() is span
        assert tracing.sampled_trace_id() == ""
        ((name, header),) = tracing.outgoing()["metadata"]
        assert (name, header[:-2]) == ("traceparent", f"00-{span.trace_id}-{span.span_id}-")
        assert int(header[-2:], 16) & 1 == 0  # the flag that says that it is recorded
    assert recorded.ended() == {}


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Check", "/explore.v1.StatusService/GetStatus"])
def test_probes_are_not_traced(method: str) -> None:
    assert Recorded().begin(PARENT, method=method) is NO_SPAN


def test_errors_are_noted_once_and_cancellation_is_none() -> None:
    recorded = Recorded()
    unavailable = recorded.begin()
    unavailable.fail("UNAVAILABLE")
    with pytest.raises(KeyError), tracing.running(unavailable):
        raise KeyError("user 42")
    with pytest.raises(asyncio.CancelledError), tracing.running(recorded.begin(method="/s/Gone")):
        raise asyncio.CancelledError
    failed, gone = recorded.ended()[METHOD[1:]], recorded.ended()["s/Gone"]
    assert failed.attributes is not None
    assert (failed.attributes["error.type"], failed.status.status_code.name) == ("UNAVAILABLE", "ERROR")
    assert ([event.name for event in gone.events], gone.status.status_code.name) == (["cancelled"], "UNSET")
    assert "user 42" not in failed.to_json()  # errors may hold what users sent


async def test_a_shared_call_has_one_parent_and_is_linked_with_the_others() -> None:
    """The first of the batch is not recorded, so the second is the parent."""
    recorded, silent, told = Recorded(), Recorded(share=0.0), asyncio.get_running_loop().create_future()
    calls: list[str] = []

    async def send(ask: RankAsk, timeout_s: float) -> Ranked:
        with tracing.calling("s/M", "h:1", "first"):
            calls.append(tracing.sampled_trace_id())
            if len(calls) == 1:
                await told
        return ask.answer(await all_rows(ask.message(), None), "rank")

    coalescer = Coalescer("rank", send, RankJoining(), lambda: 1, CallPolicy(hedge_quantile=None))

    async def member(span: Span) -> None:
        with tracing.running(span):
            await coalescer.call(rank_ask([[1.0]]), 5.0)

    spans = [recorded.begin(method="/alone"), silent.begin(), *(recorded.begin(method=f"/m{i}") for i in range(2))]
    alone = asyncio.create_task(member(spans[0]))
    while not calls:  # those that ask in the same turn would share its call
        await asyncio.sleep(0)
    tasks = [asyncio.create_task(member(span)) for span in spans[1:]]
    await asyncio.sleep(0)
    told.set_result(None)
    await asyncio.gather(alone, *tasks)
    assert calls == [spans[0].trace_id, spans[2].trace_id]
    shared = recorded.ended()["s/M"]  # the later one
    assert shared.parent is not None
    assert f"{shared.parent.span_id:016x}" == spans[2].span_id
    assert [f"{link.context.span_id:016x}" for link in shared.links] == [spans[3].span_id]
    assert [link.context for link in recorded.ended()["m1"].links] == [shared.context]
    assert recorded.ended()["m0"].links == ()


async def test_every_attempt_of_a_call_is_a_span_of_its_own() -> None:
    headers = list[str]()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        headers.append(dict(context.invocation_metadata())["traceparent"])
        if len(headers) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "once")
        return await all_rows(request, context)

    recorded = Recorded()
    async with running(Replica(answer)) as addresses, connected(addresses) as connection:
        with tracing.running(recorded.begin(method="/page")):
            await RankingClient(connection, "rank").rank(rank_ask([[1.0]]), 5.0)
    spans = [each for each in recorded.all() if each.name == METHOD[1:]]
    assert [dict(each.attributes or {})["explore.attempt"] for each in spans] == ["first", "retry"]
    codes = [dict(each.attributes or {})["rpc.response.status_code"] for each in spans]
    assert (codes, [each.status.status_code.name for each in spans]) == (["UNAVAILABLE", "OK"], ["ERROR", "UNSET"])
    assert [header.split("-")[2] for header in headers] == [f"{each.context.span_id:016x}" for each in spans]


async def test_a_collector_that_is_away_holds_up_nothing() -> None:
    config = ServiceConfig(otlp_endpoint="http://127.0.0.1:1", trace_share=1.0)
    async with exported(config, MemoryTelemetry()) as tracer:
        assert tracer is not None
        began = time.monotonic()
        for _ in range(5_000):  # more than the queue holds
            with tracing.running(tracer.server_span(METHOD, ())):
                pass
        assert time.monotonic() - began < 5.0
    assert time.monotonic() - began < 15.0
