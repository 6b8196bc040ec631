"""grpc.health.v1 with watches that end when the server shuts down, so that a watcher does not hold up the drain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grpc_health.v1 import health, health_pb2

SERVICE_NAME: str = health.SERVICE_NAME
LIVE = "live"  # what a liveness probe asks for: no service, so it may answer before there is a bundle
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _WatchOver(Exception):
    """The last status has been written."""


class _LastWords:
    """A context that ends the watch once NOT_SERVING was written during shutdown."""

    def __init__(self, context: Any, servicer: Health) -> None:
        self._context = context
        self._servicer = servicer

    async def write(self, response: Any) -> None:
        await self._context.write(response)
        if self._servicer.shutting_down and response.status == NOT_SERVING:
            raise _WatchOver


class Health(health.aio.HealthServicer):  # type: ignore[misc, name-defined]
    """One status per service and "" for the process, NOT_SERVING until `set_serving`; LIVE is SERVING from the start.

    A process that waits for its bundle is alive: to restart it would only make it wait from the beginning.
    """

    def __init__(self, services: Iterable[str] = ()) -> None:
        super().__init__()
        self.shutting_down = False
        self._services: list[str] = []
        self._server_status[LIVE] = SERVING
        self.expect(["", *services])

    def expect(self, services: Iterable[str]) -> None:
        """These are to be served, too. Before `set_serving`."""
        for service in services:
            self._services.append(service)
            self._server_status[service] = NOT_SERVING

    async def set_serving(self) -> None:
        """Everything works."""
        for service in self._services:
            await self.set(service, SERVING)

    async def enter_graceful_shutdown(self) -> None:
        """NOT_SERVING for good."""
        self.shutting_down = True
        await super().enter_graceful_shutdown()

    async def Watch(self, request: Any, context: Any) -> None:
        """Writes every change until the client goes away or the server shuts down."""
        try:
            await super().Watch(request, _LastWords(context, self))
        except _WatchOver:
            return
