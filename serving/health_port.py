"""A port of its own for grpc.health.v1, in plain text. Knows the health servicer and nothing of what it stands for.

Kubernetes asks native gRPC probes without TLS, so a server that wants certificates could never be probed. Nothing but health is
served here: who reaches this port learns whether the process works, and can do nothing.
"""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from serving.errors import BindError
from serving.health import Health


class HealthPort:
    """Opened by `open`, closed by `close`; neither does anything without an address."""

    def __init__(self, health: Health, listen: str | None) -> None:
        """`listen`: HOST:PORT, port 0 takes a free one."""
        self._health, self._listen = health, listen
        self._server: grpc.aio.Server | None = None

    async def open(self) -> int:
        """Returns the port's number, 0 for none. Raises BindError."""
        if self._listen is None:
            return 0
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            port: int = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise BindError(f"cannot listen on {self._listen}: in use, or no address of this machine") from error
        await self._server.start()
        return port

    async def close(self) -> None:
        """At once: a probe is asked again."""
        if self._server is not None:
            await self._server.stop(None)
