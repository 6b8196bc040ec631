"""A service as an operating system process: environment in, exit code out, signals in between."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import uvloop

from serving import logs
from serving.config import C, ServiceConfig, load, strays
from serving.errors import ConfigError, StartupError
from serving.exporting import exported
from serving.joint_health import JointHealth
from serving.memory import freeze_what_is_loaded, give_back_large_buffers
from serving.server import ServerHandle, Service
from serving.telemetry import MemoryTelemetry, Telemetry

Build = Callable[[C, Telemetry], Service]  # the composition root of a service; called inside the event loop

Part = tuple[Any, Callable[[Any, Telemetry], Service]]  # the config of a service and its `Build`

EXIT_STARTUP = 1
EXIT_CONFIG = 2

_log = logging.getLogger(__name__)


def _ignore(config: ServiceConfig, server: ServerHandle) -> None:
    """Nobody asked."""


def main(config_class: type[C], build: Build[C]) -> int:
    """Reads the environment and serves until SIGTERM or SIGINT. Returns the exit code: 0, or 2 for a wrong environment."""
    try:
        config = load(config_class)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    logs.configure(config.log_level)
    give_back_large_buffers()
    freeze_what_is_loaded()
    for name in strays(config_class):
        _log.info("not a setting of this service: %s", name)
    return run(config, build)


def run(config: C, build: Build[C]) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code: 0, 2 if a setting cannot be used after all, 1 if it cannot start."""
    return run_together([(config, build)])


def run_together(
    parts: Sequence[Part],
    started: Callable[[ServiceConfig, ServerHandle], None] = _ignore,
    health_listen: str | None = None,
) -> int:
    """As `run`, for several services in one process, each with a server of its own. They start in order and end in reverse.

    `started` is told of every server once its port is open, before the next service is built. At `health_listen`, nothing is
    SERVING until all of them are. Metrics and traces of all are shown as the last one's settings say.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(parts, started, JointHealth(health_listen)))
        except StartupError as error:
            _log.error("cannot start: %s", error)
            return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_STARTUP
    return 0


async def _serve(
    parts: Sequence[Part], started: Callable[[ServiceConfig, ServerHandle], None], health: JointHealth
) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _on_signal, number, told_to_stop)
    telemetry, servers = MemoryTelemetry(), list[ServerHandle]()
    async with exported(parts[-1][0], telemetry) as tracer:
        try:
            await health.open()
            for config, build in parts:
                service = build(config, telemetry)
                server = ServerHandle(config, service, telemetry, tracer)
                servers.append(server)
                health.expect(service.names)
                await server.start()
                started(config, server)
            health.watch([server.ready for server in servers])
            await told_to_stop.wait()
            _log.info("draining", extra={"at_most_s": max(config.drain_s for config, _ in parts)})
        finally:
            await health.shut_down()
            for server in reversed(servers):
                await server.stop()
            await health.close()
    _log.info("stopped", extra={"telemetry": [asdict(line) for line in telemetry.snapshot()]})


def _on_signal(number: int, told_to_stop: asyncio.Event) -> None:
    if told_to_stop.is_set():
        _log.warning("second signal, exiting at once")
        os._exit(128 + number)  # what hangs in the drain would also hang an orderly exit
    told_to_stop.set()
