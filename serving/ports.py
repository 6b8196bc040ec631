"""What a server listens on: its port, plain or with certificates, and beside it a port for probes that knows health alone."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from serving.config import ServiceConfig
from serving.errors import BindError
from serving.gates import Gate
from serving.health import Health
from serving.peers import PeerGate
from serving.tls import TlsDirectory


class Ports:
    """The ports of one server. Raises TlsRefused if there are no certificates, though the config has found some."""

    def __init__(self, config: ServiceConfig) -> None:
        tls = config.port_tls
        self.gates: tuple[Gate, ...] = (PeerGate(tls.peers),) if tls is not None and tls.peers else ()
        self._listen, self._health_listen = config.listen, config.health_listen
        self._tls = None if tls is None else TlsDirectory(tls.directory, mutual=tls.peers is not None)
        self._health_server: grpc.aio.Server | None = None

    def open(self, server: grpc.aio.Server) -> int:
        """Adds the port to a server that has not started, and returns its number. Raises BindError."""
        with BindError.named(self._listen):
            if self._tls is None:
                return server.add_insecure_port(self._listen)
            return server.add_secure_port(self._listen, self._tls.server_credentials())

    async def open_health(self, health: Health) -> int:
        """Opens the port for probes and returns its number, 0 if there is to be none. Raises BindError.

        It is a server of its own, so that nothing else can be asked there.
        """
        if self._health_listen is None:
            return 0
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        with BindError.named(self._health_listen):
            port = server.add_insecure_port(self._health_listen)
        await server.start()
        self._health_server = server
        return port

    def note(self) -> str:
        """What is wrong with the certificates; empty if nothing is."""
        if self._tls is None or not self._tls.refused:
            return ""
        return f"changed certificates are refused, those before go on: {self._tls.refused}"

    async def close(self) -> None:
        """Ends what `open_health` opened."""
        if self._health_server is not None:
            await self._health_server.stop(None)
