"""The gateway as it is built, on stages whose bundles are set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from valkey.asyncio import Valkey

from bundles import layout
from bundles.store import BundleStore
from features.actions import Action
from features.durability import DurableWrites
from features.event_archive import FeedbackEvent
from features.event_journal import EventJournal
from gateway.__main__ import build
from gateway.clock import wall_clock
from gateway.config import GatewayConfig
from protos.explore.v1.feed_pb2 import DegradationReason, GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.feedback_pb2 import LogEventsRequest
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest, GetStatusResponse
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.config import ServiceConfig, load
from serving.errors import BundleNotHeld, BundleRefused, ConfigError
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from serving.testing import serve
from tests.gateway.feedbacks import event
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOW, hand_made
from tests.serving.doubles import raising

STAGES = ("retrieval", "prerank", "rank", "rerank")


class Stages:
    """Four services that hold what `held` says, and answer no call."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {stage: [] for stage in STAGES}
        self.asked = asyncio.Queue[list[str]]()
        self.addresses: dict[str, str] = {}

    async def start(self, stack: AsyncExitStack) -> None:
        for stage in STAGES:
            service = replace(
                raising(BundleNotHeld("any", ())),
                versions=self.held[stage].copy,
                pin=lambda versions: self.asked.put_nowait(list(versions)),
            )
            server = ServerHandle(ServiceConfig(listen="127.0.0.1:0", drain_s=0.01), service, NoTelemetry())
            await server.start()
            stack.push_async_callback(server.stop)
            await server.ready.wait()
            self.addresses[f"{stage}_address"] = f"127.0.0.1:{server.port}"

    def all_hold(self, *versions: str) -> None:
        for held in self.held.values():
            held[:] = versions


@pytest.fixture
async def stages() -> AsyncIterator[Stages]:
    async with AsyncExitStack() as stack:
        made = Stages()
        await made.start(stack)
        yield made


def config(root: Path, stages: Stages, **changes: Any) -> GatewayConfig:
    nowhere = {"valkey_url": "redis://127.0.0.1:1/0"}
    return GatewayConfig(**{"bundle_root": root, "bundle_wait_s": 30.0, **nowhere, **stages.addresses, **changes})


async def status_once(channel: grpc.aio.Channel, version: str) -> GetStatusResponse:
    """The status once the gateway serves a version."""
    stub: Any = StatusServiceStub(channel)
    async with asyncio.timeout(10):
        while (found := await stub.GetStatus(GetStatusRequest())).bundle_version != version:
            continue
    answer: GetStatusResponse = found
    return answer


async def test_a_new_bundle_serves_when_all_stages_hold_it(tmp_path: Path, stages: Stages) -> None:
    first = publish(tmp_path).version
    stages.all_hold(first)
    async with serve(build(config(tmp_path, stages, bundle_poll_s=0.01), NoTelemetry())) as channel:
        second = publish(tmp_path).version
        stages.all_hold(second, first)
        stages.held["rank"][:] = [first]
        stub: Any = StatusServiceStub(channel)
        async with asyncio.timeout(10):
            while "waits for" not in (waiting := await stub.GetStatus(GetStatusRequest())).note:
                continue
        assert waiting.bundle_version == first
        assert f"bundle {second} is loaded and waits for rank {stages.addresses['rank_address']}" in waiting.note
        stages.all_hold(second, first)
        switched = await status_once(channel, second)
        assert (list(switched.bundle_versions), switched.note) == ([second, first], "")
        BundleStore(tmp_path).activate(first)
        assert list((await status_once(channel, first)).bundle_versions) == [first, second]


async def test_a_page_that_meets_a_stage_without_its_bundle_says_so_and_has_the_gateway_look_at_once(
    tmp_path: Path, stages: Stages
) -> None:
    version = publish(tmp_path).version
    stages.all_hold(version)
    async with serve(build(config(tmp_path, stages, bundle_poll_s=3600), NoTelemetry())) as channel:
        while not stages.asked.empty():
            stages.asked.get_nowait()
        stub: Any = ExploreServiceStub(channel)
        page: GetFeedResponse = await stub.GetFeed(GetFeedRequest(user_id="42"))
        reasons = {each.stage: each.reason for each in page.degradations}
        assert reasons["prerank"] == DegradationReason.DEGRADATION_REASON_BUNDLE_NOT_HELD
        async with asyncio.timeout(10):
            assert await stages.asked.get() == [version]


async def test_a_gateway_gets_ready_without_stages(tmp_path: Path) -> None:
    version = publish(tmp_path).version
    addresses: dict[str, Any] = {f"{stage}_address": "127.0.0.1:1" for stage in STAGES}
    alone = GatewayConfig(bundle_root=tmp_path, bundle_wait_s=0.05, bundle_poll_s=0.01, **addresses)
    async with serve(build(alone, NoTelemetry())) as channel:
        assert (await status_once(channel, version)).not_ready_reason == ""


async def test_a_broken_experiment_file_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_text("layers: {a: {share: 2}}")
    with pytest.raises(
        ConfigError, match=r"(?s)^EXPLORE_EXPERIMENTS=.*experiments\.yaml:1:21: layers\.a\.share must be"
    ):
        build(GatewayConfig(experiments=file), NoTelemetry())


async def test_status_says_that_feedback_may_be_lost(tmp_path: Path, stages: Stages) -> None:
    version = publish(tmp_path).version
    stages.all_hold(version)
    cache = config(tmp_path, stages, feedback_durability="none")
    async with serve(build(cache, NoTelemetry())) as channel:
        assert "a crash of Valkey may lose it" in (await status_once(channel, version)).note


async def test_weights_that_order_nothing_keep_a_gateway_from_serving_and_are_named(tmp_path: Path) -> None:
    publish(tmp_path, weights={"default": {"click": 0.0}})
    gateway = build(GatewayConfig(bundle_root=tmp_path), NoTelemetry())
    with pytest.raises(
        BundleRefused, match=r"EXPLORE_VALUE_WEIGHTS='default': value_weights\.default gives every task weight 0"
    ):
        await gateway.load()


async def test_a_data_clock_goes_on_after_what_users_did_before_the_gateway_started_again(
    tmp_path: Path, stages: Stages, valkey: Valkey
) -> None:
    stages.all_hold(publish(tmp_path).version)
    kwargs = valkey.connection_pool.connection_kwargs
    url = f"redis://{kwargs['host']}:{kwargs['port']}/{kwargs['db']}"
    data_clock = config(tmp_path, stages, valkey_url=url, clock="data", feedback_durability="none")
    archived = EventJournal(DurableWrites(valkey))

    async def hide(event_id: str) -> FeedbackEvent:
        """Told through a gateway that starts for it; what it made of the time of day."""
        async with serve(build(data_clock, NoTelemetry())) as channel:
            stub: Any = FeedbackServiceStub(channel)
            sent = event(event_id=event_id, event_time_ms=wall_clock())
            await stub.LogEvents(LogEventsRequest(events=[sent]), wait_for_ready=True)
        return FeedbackEvent(event_id, sent.media_id, sent.author_id, Action.HIDE, await archived.newest_ms(), "42", 0)

    first = await hide("e1")
    assert NOW - 1 <= first.time_ms < NOW + 60_000
    await archived.record({"42": [replace(first, event_id="yesterday's last", time_ms=NOW + 7_200_000)]})
    assert NOW + 7_200_000 <= (await hide("e2")).time_ms < NOW + 7_260_000


async def test_without_a_bundle_there_is_no_data_clock_and_events_are_to_be_sent_again(tmp_path: Path) -> None:
    gateway = build(GatewayConfig(bundle_root=tmp_path, clock="data"), NoTelemetry())
    server = ServerHandle(ServiceConfig(listen="127.0.0.1:0", drain_s=0.01), gateway, NoTelemetry())
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub: Any = FeedbackServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.LogEvents(LogEventsRequest(events=[event()]))
    finally:
        await server.stop()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "none is loaded yet" in str(refused.value.details())


async def test_a_takedown_file_that_is_not_there_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)^EXPLORE_TAKEDOWN_FILE=.*none: there is no such file"):
        build(GatewayConfig(takedown_file=tmp_path / "none"), NoTelemetry())


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, 12),
        ({"MISSING_INTEGRITY_SCORE": "deny"}, 0),
        ({"MAX_MEDIA_AGE_HOURS": "80"}, 4),
    ],
)
async def test_the_fallback_page_obeys_the_settings_of_sourcing(
    settings: dict[str, str], shown: int, tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    unscored = replace(hand_made(), non_recommendable_M=np.full(12, np.nan, dtype=np.float32))
    stages.all_hold(publish(tmp_path, lambda staged: unscored.save(staged / layout.ITEMS)).version)
    for name, value in settings.items():
        monkeypatch.setenv(f"EXPLORE_{name}", value)
    told = load(GatewayConfig, **config(tmp_path, stages, clock="data").model_dump(exclude_unset=True))
    async with serve(build(told, NoTelemetry())) as channel:
        stub: Any = ExploreServiceStub(channel)
        page: GetFeedResponse = await stub.GetFeed(GetFeedRequest(user_id="42"))
    assert "retrieval" in {each.stage for each in page.degradations}
    assert len(page.items) == shown
