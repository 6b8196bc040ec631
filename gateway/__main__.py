"""The composition root of the gateway: builds everything once and serves it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from functools import partial

import grpc.aio
import valkey.exceptions

from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from features.durability import DurableWrites
from features.event_journal import EventJournal
from features.schema import Stage
from features.user_state import UserStateStore
from features.valkey_trips import SharedTrips
from gateway.admission import GatewayCalls
from gateway.clients import ClientGate
from gateway.clock import Clock, clock_from, wall_clock
from gateway.config import GatewayConfig
from gateway.experiments.choice import Choice
from gateway.experiments.file import ExperimentsRefused
from gateway.experiments.terms import Terms
from gateway.fallback import PopularMedia
from gateway.feed import FeedItem, Reason
from gateway.feedback import Clocks, FeedbackServicer, nothing_logged
from gateway.funnel_files import FilesConfig, FunnelFiles
from gateway.funnel_log import FunnelLog
from gateway.funnel_pass import FunnelPass
from gateway.measures import connection_readings
from gateway.missed import Missed
from gateway.page import PagePolicy
from gateway.pipeline import AfterPage, Pipeline, no_log
from gateway.servicer import ExploreServicer
from gateway.shards import Retrieval
from gateway.stage_bundles import Endpoint, StageBundles
from gateway.stages import RETRIEVAL, Call, RankingStage, SourcingStage
from gateway.state_url import open_client
from gateway.users import Users
from gateway.value_model import check_weights
from protos.explore.v1 import feed_pb2, feedback_pb2
from protos.explore.v1.feed_pb2_grpc import add_ExploreServiceServicer_to_server
from protos.explore.v1.feedback_pb2_grpc import add_FeedbackServiceServicer_to_server
from serving.addresses import split_shards
from serving.bundle_follower import BundleFollower, Source
from serving.channels import OpenChannel, RankingClient, RetrievalClient, StageConnection, open_channel
from serving.errors import ConfigError, InvalidArgument, NotReady
from serving.holder import Holder
from serving.items import open_items
from serving.process import main
from serving.server import Service
from serving.takedowns import Takedowns, TakedownsRefused, read_takedowns
from serving.telemetry import Telemetry
from serving.tls import TlsDirectory
from serving.watched import WatchedFile

EXPLORE = feed_pb2.DESCRIPTOR.services_by_name["ExploreService"].full_name
FEEDBACK = feedback_pb2.DESCRIPTOR.services_by_name["FeedbackService"].full_name

_log = logging.getLogger(__name__)


class Gateway:
    """Channels, state client and the pipeline of the current bundle."""

    def __init__(self, config: GatewayConfig, telemetry: Telemetry, open_channel: OpenChannel) -> None:
        self._config, self._telemetry, self._open_channel = config, telemetry, open_channel
        self._valkey = open_client(config.state_url)
        self._store = UserStateStore(SharedTrips(self._valkey), config.exposure_memory_s)
        writes = DurableWrites(self._valkey, config.feedback_durability, config.feedback_timeout_s)
        self._journal = EventJournal(writes, config.event_archive_events)
        self._pipelines = Holder[Pipeline](config.bundle_pin_s)
        self._connections: list[StageConnection] = []
        self._clock: Clock | None = None if config.clock == "data" else wall_clock
        self._log_end_ms: int | None = None  # of the first bundle's log, from where the data clock goes on
        self._takedowns = self._open_takedowns()
        self._clients = None if config.client_keys is None else ClientGate(config.client_keys)
        self._tls = None if config.tls_directory is None else TlsDirectory(config.tls_directory)
        self._retrieval = Retrieval(self._connect_shards(config.retrieval_address))
        addresses = {
            Stage.PRERANK: config.prerank_address,
            Stage.RANK: config.rank_address,
            Stage.RERANK: config.rerank_address,
        }
        self._rankers = {
            stage: RankingClient(self._connect(stage.value, at), stage.value) for stage, at in addresses.items()
        }
        self._funnel_log = self._open_funnel_log()
        self._choice = self._open_experiments()
        source = Source(BundleStore(config.bundle_root), FINGERPRINT, parts=layout.PARTS["gateway"])
        gate = StageBundles(self._endpoints, config.bundle_wait_s)
        self._follower = BundleFollower(source, self._pipeline, self._pipelines, config.bundle_poll_s, gate)

    def service(self) -> Service:
        """Both public services; ready once the bundle is loaded and its pipeline stands."""
        names = (EXPLORE, FEEDBACK)
        versions, follower = self._pipelines.versions, self._follower
        return Service(
            names,
            self._register,
            self._load,
            self._close,
            versions,
            self._note,
            follower.follow,
            calls=GatewayCalls(),
            gates=() if self._clients is None else (self._clients,),
            refused=follower.refused,
        )

    def _register(self, server: grpc.aio.Server) -> None:
        add_ExploreServiceServicer_to_server(
            ExploreServicer(self._choice, self._config, self._now, self._telemetry), server
        )
        forget_logged = nothing_logged if self._funnel_log is None else self._funnel_log.forget
        clocks = Clocks(self._now, wall_clock)
        feedback = FeedbackServicer(self._journal, clocks, forget_logged, self._config.deadline_s)
        add_FeedbackServiceServicer_to_server(feedback, server)

    async def _load(self) -> None:
        await self._follower.load()
        if self._clock is None and self._log_end_ms is not None:
            self._clock = clock_from(max(self._log_end_ms, await self._after_what_users_did()))

    async def _after_what_users_did(self) -> int:
        """A time of the data clock that is later than all that was archived, or 0: it goes on where the gateway before left it."""
        try:
            return await self._journal.newest_ms() + 1
        except (valkey.exceptions.ValkeyError, OSError) as error:
            _log.warning("the clock starts at the end of the log, and what users did since is ahead of it: %r", error)
            return 0

    def _pipeline(self, bundle: Bundle) -> Pipeline:
        config, tables = self._config, bundle.manifest.value_weights
        if config.value_weights not in tables:
            raise ConfigError(f"EXPLORE_VALUE_WEIGHTS={config.value_weights!r}: bundle has {', '.join(sorted(tables))}")
        try:
            check_weights(config.value_weights, tables[config.value_weights])
        except InvalidArgument as error:
            raise ConfigError(f"EXPLORE_VALUE_WEIGHTS={config.value_weights!r}: {error}") from error
        if config.clock == "data" and self._log_end_ms is None:
            # Once: what users do from now on has times of this clock, whatever bundle serves.
            self._log_end_ms = bundle.manifest.as_of_ms
        items = open_items(bundle)
        popular = PopularMedia.from_items(
            items,
            config.non_recommendable_threshold,
            self._takedowns,
            config.missing_integrity_score,
            config.max_media_age_ms,
        )
        return Pipeline(
            users=Users(self._store, config.state_timeout_s),
            sourcing=SourcingStage(config.funnel.retrieval, self._retrieval, popular),
            rankers=[RankingStage(config.funnel.plan_of(stage), client) for stage, client in self._rankers.items()],
            terms=Terms(
                PagePolicy(tables[config.value_weights], config.diversity, config.random_slots),
                bundle.manifest.tasks,
                tables,
            ),
            missed=Missed(items, config.missed_after_ms, config.missed_items),
            bundle_version=bundle.version,
            after_page=self._after_page(),
        )

    def _after_page(self) -> AfterPage:
        log = no_log
        if self._funnel_log is not None:
            log = partial(self._funnel_log.offer, clock_start_ms=self._log_end_ms)

        def after(call: Call, items: Sequence[FeedItem]) -> None:
            if any(entry.reason is Reason.BUNDLE_NOT_HELD for entry in call.trace.degradations):
                self._follower.look_again()
            log(call, items)

        return after

    def _open_experiments(self) -> Choice:
        try:
            return Choice(self._pipelines, self._config.experiments)
        except ExperimentsRefused as error:
            raise ConfigError(f"EXPLORE_EXPERIMENTS={self._config.experiments}:\n{error}") from error

    def _open_takedowns(self) -> WatchedFile[Takedowns] | None:
        file = self._config.takedown_file
        try:
            return None if file is None else WatchedFile(file, read_takedowns)
        except TakedownsRefused as error:
            raise ConfigError(f"EXPLORE_TAKEDOWN_FILE={file}:\n{error}") from error

    def _open_funnel_log(self) -> FunnelLog | None:
        config = self._config
        if (
            config.funnel_log is None
        ):  # with a share of 0 it logs nothing, but users are still deleted from what it logged before
            return None
        files = FunnelFiles(
            FilesConfig(config.funnel_log, config.funnel_log_mb * 1_000_000, config.funnel_log_requests)
        )
        funnel_pass = FunnelPass(config.funnel, self._rankers, config.funnel_log_deadline_s, config.deadline_s)
        log = FunnelLog(files, funnel_pass, config.funnel_log_share, config.funnel_log_roll_s)
        self._telemetry.watch(log.readings)
        return log

    def _note(self) -> str:
        watched = (self._takedowns, self._clients, self._tls)
        refused = [each.refused for each in watched if each is not None and each.refused]
        notes = [f"a changed file is refused, what was before goes on: {problem}" for problem in refused]
        notes += [f"experiments: {note}"] if (note := self._choice.note()) else []
        notes += [f"{at.stage}: {trouble}" for at in self._connections if (trouble := at.replicas.trouble())]
        notes += [] if self._funnel_log is None else [self._funnel_log.note()]
        notes.append(self._journal.note)
        return "; ".join(note for note in (*notes, self._follower.note()) if note)

    def _now(self) -> int:
        if self._clock is None:
            raise NotReady("the clock starts at the end of the log of a bundle, and none is loaded yet")
        return self._clock()

    def _endpoints(self) -> list[Endpoint]:
        return [Endpoint(at.stage, *endpoint) for at in self._connections for endpoint in at.replicas.endpoints()]

    def _connect(self, stage: str, addresses: str) -> StageConnection:
        config = self._config
        connection = StageConnection(
            stage, addresses, config.calls, config.max_message_bytes, self._tls, self._open_channel
        )
        self._connections.append(connection)
        self._telemetry.watch(lambda: connection_readings(connection))
        return connection

    def _connect_shards(self, addresses: str) -> list[RetrievalClient]:
        """One client per shard, each with replicas, breakers and a queue of its own."""
        shards = split_shards(addresses)
        names = [RETRIEVAL] if len(shards) == 1 else [f"{RETRIEVAL}/{number}" for number in range(len(shards))]
        return [RetrievalClient(self._connect(name, at), name) for name, at in zip(names, shards, strict=True)]

    async def _close(self) -> None:
        if self._funnel_log is not None:
            await self._funnel_log.close()
        _log.info("closing", extra={"calls": [connection.snapshot() for connection in self._connections]})
        await asyncio.gather(self._valkey.aclose(), *(connection.close() for connection in self._connections))


def build(config: GatewayConfig, telemetry: Telemetry, open_channel: OpenChannel = open_channel) -> Service:
    """The gateway as a service. `open_channel` opens its channels to stages."""
    return Gateway(config, telemetry, open_channel).service()


if __name__ == "__main__":
    sys.exit(main(GatewayConfig, build))
