"""The five services of a small world in one process, each with its own telemetry as in production, and a collector of traces."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from features.schema import Stage
from gateway.__main__ import build as build_gateway
from gateway.config import GatewayConfig
from prerank_svc.config import PrerankConfig
from rank_svc.config import RankConfig
from rerank_svc.config import RerankConfig
from retrieval_svc.__main__ import build as build_retrieval
from retrieval_svc.config import RetrievalConfig
from serving.channels import open_channel
from serving.config import ServiceConfig
from serving.exporting import exported
from serving.holder import Holder
from serving.ranking import ranking_service
from serving.scorer import Scorer
from serving.server import ServerHandle, Service
from serving.telemetry import MemoryTelemetry, Telemetry
from tests.retrieval_svc.published import publish
from tests.serving.doubles import TasteScorer

RANKERS: Mapping[Stage, type[ServiceConfig]] = {
    Stage.PRERANK: PrerankConfig,
    Stage.RANK: RankConfig,
    Stage.RERANK: RerankConfig,
}


@dataclass
class ObservedStack:
    """Where the services are, and where their metrics are."""

    channel: grpc.aio.Channel  # to the gateway
    metrics: dict[str, str] = field(default_factory=dict)  # service name -> HOST:PORT
    telemetry: dict[str, MemoryTelemetry] = field(default_factory=dict)


@asynccontextmanager
async def observed_stack(
    root: Path, valkey_url: str, gateway: Mapping[str, Any] = MappingProxyType({}), **settings: Any
) -> AsyncIterator[ObservedStack]:
    """Runs all five with these settings, the gateway with more. What they had to send is sent when the block has ended."""
    version = publish(root / "bundles").version
    (root / "sourcing.igql").write_text("user.trending()")
    told = {"listen": "127.0.0.1:0", "bundle_root": root / "bundles", "drain_s": 0.01, **settings}
    async with AsyncExitStack() as stack:
        found = ObservedStack(open_channel("127.0.0.1:1"))

        async def started(config: ServiceConfig, service_of: Any) -> str:
            telemetry = found.telemetry[config.service_name] = MemoryTelemetry()
            tracer = await stack.enter_async_context(exported(config, telemetry))
            server = ServerHandle(config, service_of(config, telemetry), telemetry, tracer)
            await server.start()
            stack.push_async_callback(server.stop)
            await server.ready.wait()
            found.metrics[config.service_name] = config.metrics_listen or ""
            return f"127.0.0.1:{server.port}"

        def ranker(stage: Stage) -> Any:
            def service_of(config: ServiceConfig, telemetry: Telemetry) -> Service:
                return _ranker(stage, version, telemetry)

            return service_of

        igql = {"igql_file": root / "sourcing.igql", "metrics_listen": free_address()}
        addresses = {"retrieval_address": await started(RetrievalConfig(**{**told, **igql}), build_retrieval)}
        for stage, config_class in RANKERS.items():
            config = config_class(**{**told, "metrics_listen": free_address()})
            addresses[f"{stage}_address"] = await started(config, ranker(stage))
        calm = {"deadline_s": 30.0, "state_timeout_s": 10.0, "clock": "data", "valkey_url": valkey_url}
        public = GatewayConfig(**{**calm, **addresses, **told, "metrics_listen": free_address(), **gateway})
        found.channel = await stack.enter_async_context(open_channel(await started(public, build_gateway)))
        yield found


def _ranker(stage: Stage, version: str, telemetry: Telemetry) -> Service:
    scorers = Holder[Scorer]()

    async def load() -> None:
        scorers.put(version, TasteScorer())

    return ranking_service(stage, scorers, load, telemetry)


def free_address() -> str:
    """An address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def scrape(address: str, accept: str = "text/plain") -> str:
    """The metrics of a process as text. Blocks."""
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        text: str = response.read().decode()
    return text


@dataclass(frozen=True)
class Told:
    """A span as it reached the collector."""

    service: str
    span: trace_pb2.Span

    @property
    def attributes(self) -> dict[str, str | int]:
        """Those that are texts or whole numbers."""
        return {each.key: each.value.string_value or each.value.int_value for each in self.span.attributes}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it gets in memory."""

    def __init__(self) -> None:
        self.spans: list[Told] = []

    async def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any) -> Any:
        """OTLP's only method."""
        for group in request.resource_spans:
            of = {each.key: each.value.string_value for each in group.resource.attributes}
            self.spans += [Told(of["service.name"], span) for scope in group.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, service: str, name: str) -> list[Told]:
        """The spans of this name that a service told of."""
        return [each for each in self.spans if (each.service, each.span.name) == (service, name)]


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    """A collector on a free port, and its URL."""
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)
