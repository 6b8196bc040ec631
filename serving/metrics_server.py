"""GET /metrics over HTTP, in threads of its own: the text for Prometheus is made beside the event loop, not on it."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from serving.errors import BindError

PATH = "/metrics"
_CLOSES_WITHIN_S = 0.1
_PATIENCE_S = 10.0  # with a client that sends or takes nothing

_log = logging.getLogger(__name__)


class Busy(Exception):
    """The figures cannot be had now; the next scrape has them all, as they only add up."""


class MetricsServer:
    """Answers from the moment it is made until `close`."""

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        """`address` is HOST:PORT. Raises BindError if it cannot be had."""
        host, _, port = address.rpartition(":")
        try:
            self._server = _server(host.strip("[]"), int(port), registry)
        except OSError as error:
            problem = f"cannot show metrics on {address}: in use, or no address of this machine"
            raise BindError(problem) from error
        self.port: int = self._server.server_address[1]
        serve = partial(self._server.serve_forever, poll_interval=_CLOSES_WITHIN_S)
        self._thread = threading.Thread(target=serve, name="metrics", daemon=True)
        self._thread.start()
        _log.info("metrics listening", extra={"listen": address, "port": self.port})

    def close(self) -> None:
        """Ends it; blocks for a moment, so not for the event loop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news; anything else is, though it harms only the one who asked."""
        _log.debug("metrics request failed", exc_info=True, extra={"client": str(client_address)})


def _server(host: str, port: int, registry: CollectorRegistry) -> _Server:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    server_class = type("_BoundServer", (_Server,), {"address_family": family})
    made: _Server = server_class((host, port), _handler(registry))
    return made


def _handler(registry: CollectorRegistry) -> Callable[..., BaseHTTPRequestHandler]:
    one_at_a_time = threading.Lock()  # several scrapers must not take the interpreter from the calls at once

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S
        server_version, sys_version = "explore", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != PATH:
                self.send_error(HTTPStatus.NOT_FOUND, f"only {PATH} is here")
                return
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            try:
                with one_at_a_time:
                    body = encode(registry)
            except Busy as error:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
                return
            self._answer(body, content_type)

        def _answer(self, body: bytes, content_type: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", content_type)
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body, compresslevel=1)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A scrape every few seconds is no news."""

    return Handler
