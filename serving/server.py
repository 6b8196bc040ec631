"""Runs one service as a process: port, health, readiness, drain. Knows neither what is served nor how it is loaded.

The port opens first and health says NOT_SERVING; then the service loads, again and again until it works; then SERVING.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bundles.errors import BundleError
from protos.explore.v1 import status_pb2_grpc
from serving import health, status
from serving.admission import Calls, Door, Queue
from serving.concurrency import ConcurrencyLimit
from serving.config import ServiceConfig
from serving.errors import StartupError
from serving.gates import Gate, GateInterceptor
from serving.health_port import HealthPort
from serving.interceptors import (
    AdmissionInterceptor,
    DecodeInterceptor,
    ErrorInterceptor,
    OnceInterceptor,
    TelemetryInterceptor,
)
from serving.local_channel import HandlerRecord, LocalChannel
from serving.ports import Port
from serving.service_readings import readings_of
from serving.streams import StreamErrorInterceptor
from serving.telemetry import Telemetry
from serving.tracing import Tracer

# Lets the keepalive of our channels pass (serving/channels.py): gRPC's default of minutes ends connections with "too many pings".
MIN_PING_MS = 5_000

_FOR_EVER = 2**31 - 1  # what gRPC takes a time in milliseconds for that has no end
_log = logging.getLogger(__name__)


async def _nothing() -> None:
    """A service that has nothing to load or to close."""


def _pin_nothing(versions: Sequence[str]) -> None:
    """A service without bundles."""


@dataclass(frozen=True)
class Service:
    """What a process serves. `load` makes it ready, warmed up; it may raise and is then called again. Then `follow` runs on."""

    names: tuple[str, ...]  # full gRPC names, for health and reflection
    register: Callable[[grpc.aio.Server], None]
    load: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing
    versions: Callable[[], list[str]] = list  # bundle versions held, current first
    note: Callable[[], str] = (
        str  # what people should know although it is ready, "" for nothing; asked for every status
    )
    follow: Callable[[], Awaitable[None]] = _nothing  # changes bundles while calls go on; raises nothing
    pin: Callable[[Sequence[str]], None] = _pin_nothing  # somebody will ask for these versions
    calls: Calls = field(default_factory=Calls)  # what admission should know of them
    gates: tuple[Gate, ...] = ()  # who may call, besides the peers that the config names
    refused: Callable[[], list[str]] = list  # bundle versions that are asked for and cannot serve


class ServerHandle:
    """One server in this process. `ready` is set once the service has loaded."""

    def __init__(
        self, config: ServiceConfig, service: Service, telemetry: Telemetry, tracer: Tracer | None = None
    ) -> None:
        self.port = self.health_port = 0
        self.ready = asyncio.Event()
        self._config = config
        self._service = service
        self._health = health.Health(service.names)
        self._probed = HealthPort(self._health, config.health_listen)
        self._port = Port(config)
        self._status = status.Status(", ".join(service.names), service.versions, self._note, service.pin)
        # Services without a door, such as health and status, answer whatever happens.
        doors = {name: _door(name, config, telemetry) for name in service.names}
        telemetry.watch(lambda: readings_of(self.ready.is_set(), service.versions(), service.refused(), doors.values()))
        # Neighbours in this process are told apart from nobody, so their calls pass no gate.
        self._measured = TelemetryInterceptor(telemetry, tracer=tracer)
        self._inner = [ErrorInterceptor(), AdmissionInterceptor(doors, service.calls)]
        gates = GateInterceptor((*self._port.gates, *service.gates))
        self._server = grpc.aio.server(
            interceptors=[
                OnceInterceptor(),
                self._measured,
                gates,
                *self._inner,
                DecodeInterceptor(),
                StreamErrorInterceptor(),
            ],
            options=_options(config),
        )
        self._registered = HandlerRecord(self._server)
        self._loading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the port, or the socket, and begins to load. Raises BindError."""
        recording: Any = self._registered
        self._service.register(recording)
        status_pb2_grpc.add_StatusServiceServicer_to_server(self._status, recording)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._config.reflection:
            names = (*self._service.names, status.STATUS, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = self._port.open(self._server)
        self.health_port = await self._probed.open()
        await self._server.start()
        _log.info("listening", extra={"listen": self._config.listen, "port": self.port})
        self._loading = asyncio.create_task(self._load_and_follow())

    def local_channel(self) -> LocalChannel:
        """A channel for callers in this process, past the port. The server must have been started."""
        handlers = dict(self._registered.handlers)
        for interceptor in reversed([self._measured, *self._inner]):
            handlers = {method: interceptor.wrap(handler, method) for method, handler in handlers.items()}
        return LocalChannel(handlers, lambda: self.ready.is_set() and not self._health.shutting_down)

    async def stop(self) -> None:
        """NOT_SERVING first; then no new calls, and those that run may end within the drain time."""
        await self._health.enter_graceful_shutdown()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._server.stop(self._config.drain_s if self.ready.is_set() else None)
        await self._service.close()
        await self._probed.close()

    def _note(self) -> str:
        return "; ".join(part for part in (self._service.note(), self._port.note()) if part)

    async def _load_and_follow(self) -> None:
        while not await self._load():
            await asyncio.sleep(self._config.bundle_retry_s)
        self._status.not_ready_reason = ""
        await self._health.set_serving()
        self.ready.set()
        _log.info("ready", extra={"services": self._service.names})
        await self._service.follow()

    async def _load(self) -> bool:
        """Whatever goes wrong may be repaired while the process waits, so nothing ends it."""
        try:
            await self._service.load()
        except (BundleError, StartupError) as error:
            self._status.not_ready_reason = str(error)
            _log.error("not ready: %s", error, extra={"retry_in_s": self._config.bundle_retry_s})
        except Exception as error:
            self._status.not_ready_reason = f"{type(error).__name__}, see the log"
            _log.exception("not ready", extra={"retry_in_s": self._config.bundle_retry_s})
        else:
            return True
        return False


def _door(name: str, config: ServiceConfig, telemetry: Telemetry) -> Door:
    return Door(
        name, ConcurrencyLimit(config.limit_bounds), Queue(config.queue_length, config.queue_wait_share), telemetry
    )


def _options(config: ServiceConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # else a second process would silently share the port
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_age_ms", min(round(config.connection_age_s * 1000), _FOR_EVER)),
        ("grpc.max_connection_age_grace_ms", min(round(config.connection_grace_s * 1000), _FOR_EVER)),
    ]
