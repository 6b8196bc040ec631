"""The composition root of the gateway: builds everything once and serves it."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import grpc.aio
import valkey.asyncio

from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from features.schema import Stage
from features.user_state import UserStateStore
from gateway.clock import Clock, clock_from, wall_clock
from gateway.config import GatewayConfig
from gateway.fallback import PopularMedia
from gateway.feedback import FeedbackServicer
from gateway.funnel_files import FilesConfig, FunnelFiles
from gateway.funnel_log import FunnelLog
from gateway.funnel_pass import FunnelPass
from gateway.missed import Missed
from gateway.page import PagePolicy
from gateway.pipeline import AfterPage, Pipeline, no_log
from gateway.servicer import ExploreServicer
from gateway.stages import RankingStage, SourcingStage
from gateway.users import Users
from gateway.value_model import check_weights
from protos.explore.v1 import feed_pb2, feedback_pb2
from protos.explore.v1.feed_pb2_grpc import add_ExploreServiceServicer_to_server
from protos.explore.v1.feedback_pb2_grpc import add_FeedbackServiceServicer_to_server
from serving.channels import RankingClient, RetrievalClient, open_channel
from serving.errors import ConfigError
from serving.holder import Holder, load_current
from serving.items import open_items
from serving.process import main
from serving.server import Service
from serving.takedowns import read_takedowns
from serving.telemetry import Telemetry
from serving.watched import WatchedFile

EXPLORE = feed_pb2.DESCRIPTOR.services_by_name["ExploreService"].full_name
FEEDBACK = feedback_pb2.DESCRIPTOR.services_by_name["FeedbackService"].full_name


class Gateway:
    """Channels, state client and the pipeline of the current bundle."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._valkey = valkey.asyncio.from_url(config.valkey_url)
        self._store = UserStateStore(self._valkey)
        self._channels: list[grpc.aio.Channel] = []
        self._pipelines = Holder[Pipeline]()
        self._clock: Clock = wall_clock
        file = config.takedown_file
        self._takedowns = None if file is None else WatchedFile(file, read_takedowns)
        self._retrieval = RetrievalClient(self._channel(config.retrieval_address))
        addresses = {
            Stage.PRERANK: config.prerank_address,
            Stage.RANK: config.rank_address,
            Stage.RERANK: config.rerank_address,
        }
        self._rankers = {stage: RankingClient(self._channel(at), stage.value) for stage, at in addresses.items()}
        self._funnel_log = self._open_funnel_log()

    def service(self) -> Service:
        """Both public services; ready once the bundle is loaded and its pipeline stands."""
        names = (EXPLORE, FEEDBACK)
        return Service(names, self._register, self._load, self._close, self._pipelines.versions, self._note)

    def _register(self, server: grpc.aio.Server) -> None:
        add_ExploreServiceServicer_to_server(ExploreServicer(self._pipelines, self._config, self._now), server)
        add_FeedbackServiceServicer_to_server(FeedbackServicer(self._store, self._now, wall_clock), server)

    async def _load(self) -> None:
        await load_current(BundleStore(self._config.bundle_root), FINGERPRINT, self._pipeline, self._pipelines)

    def _pipeline(self, bundle: Bundle) -> Pipeline:
        config, tables = self._config, bundle.manifest.value_weights
        if config.value_weights not in tables:
            raise ConfigError(f"EXPLORE_VALUE_WEIGHTS={config.value_weights!r}: bundle has {', '.join(sorted(tables))}")
        check_weights(config.value_weights, tables[config.value_weights])
        if config.clock == "data":
            self._clock = clock_from(bundle.manifest.as_of_ms)
        items = open_items(bundle)
        popular = PopularMedia.from_items(items, config.non_recommendable_threshold, self._takedowns)
        return Pipeline(
            users=Users(self._store, config.state_timeout_s),
            sourcing=SourcingStage(config.funnel.retrieval, self._retrieval, popular),
            rankers=[RankingStage(config.funnel.plan_of(stage), client) for stage, client in self._rankers.items()],
            policy=PagePolicy("default", tables[config.value_weights], config.diversity),
            missed=Missed(items, config.missed_after_ms, config.missed_items),
            bundle_version=bundle.version,
            after_page=self._after_page(bundle),
        )

    def _after_page(self, bundle: Bundle) -> AfterPage:
        if self._funnel_log is None:
            return no_log
        start_ms = bundle.manifest.as_of_ms if self._config.clock == "data" else None
        return partial(self._funnel_log.offer, clock_start_ms=start_ms)

    def _open_funnel_log(self) -> FunnelLog | None:
        config = self._config
        if config.funnel_log is None or config.funnel_log_share == 0:
            return None
        files = FunnelFiles(
            FilesConfig(config.funnel_log, config.funnel_log_mb * 1_000_000, config.funnel_log_requests)
        )
        funnel_pass = FunnelPass(config.funnel, self._rankers, config.funnel_log_deadline_s)
        return FunnelLog(files, funnel_pass, config.funnel_log_share, config.funnel_log_roll_s)

    def _note(self) -> str:
        refused = "" if self._takedowns is None else self._takedowns.refused
        notes = [f"a changed file is refused, what was before goes on: {refused}"] if refused else []
        notes += [] if self._funnel_log is None else [self._funnel_log.note()]
        return "; ".join(notes)

    def _now(self) -> int:
        return self._clock()

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = open_channel(address, self._config.max_message_bytes)
        self._channels.append(channel)
        return channel

    async def _close(self) -> None:
        if self._funnel_log is not None:
            await self._funnel_log.close()
        await asyncio.gather(self._valkey.aclose(), *(channel.close(None) for channel in self._channels))


def build(config: GatewayConfig, telemetry: Telemetry) -> Service:
    """The gateway as a service."""
    return Gateway(config).service()


if __name__ == "__main__":
    sys.exit(main(GatewayConfig, build))
