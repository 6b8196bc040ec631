"""The port of a server: plain, or with certificates, and then with a gate for the peers that the config names."""

from __future__ import annotations

import grpc.aio

from serving import unix_sockets
from serving.config import ServiceConfig
from serving.errors import BindError
from serving.gates import Gate
from serving.peers import PeerGate
from serving.tls import TlsDirectory


class Port:
    """Where a server listens, and who gets through."""

    def __init__(self, config: ServiceConfig) -> None:
        """Raises TlsRefused if there are no certificates any more, though the config has found some."""
        tls = config.port_tls
        self.gates: tuple[Gate, ...] = (PeerGate(tls.peers),) if tls is not None and tls.peers else ()
        self._listen = config.listen
        self._tls = None if tls is None else TlsDirectory(tls.directory, mutual=tls.peers is not None)

    def open(self, server: grpc.aio.Server) -> int:
        """Adds the port, or the socket, to a server that has not started, and returns its number. Raises BindError."""
        if unix_sockets.is_taken(self._listen):  # gRPC would take it away from whoever listens there
            raise BindError(f"cannot listen on {self._listen}: another server does")
        try:
            if self._tls is None:
                return server.add_insecure_port(self._listen)
            return server.add_secure_port(self._listen, self._tls.server_credentials())
        except RuntimeError as error:
            raise BindError(f"cannot listen on {self._listen}: in use, or no address of this machine") from error

    def note(self) -> str:
        """What is wrong with the certificates; empty if nothing is."""
        if self._tls is None or not self._tls.refused:
            return ""
        return f"changed certificates are refused, those before go on: {self._tls.refused}"
