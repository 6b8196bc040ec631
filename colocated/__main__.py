"""The composition root of several services in one process: `python -m colocated`.

Each has its own port, health and status, as if it were alone. If the gateway is among them, it calls the stages beside it directly:
the same messages through the same interceptors, with deadlines, errors and shared calls, but without bytes and sockets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import gateway.__main__ as gateway_root
import prerank_svc.__main__ as prerank_root
import rank_svc.__main__ as rank_root
import rerank_svc.__main__ as rerank_root
import retrieval_svc.__main__ as retrieval_root
from colocated.config import ColocatedConfig, Name
from gateway.config import GatewayConfig
from prerank_svc.config import PrerankConfig
from rank_svc.config import RankConfig
from rerank_svc.config import RerankConfig
from retrieval_svc.config import RetrievalConfig
from serving import logs
from serving.channels import open_channel
from serving.config import ServiceConfig, load
from serving.errors import ConfigError
from serving.memory import freeze_what_is_loaded, give_back_large_buffers
from serving.process import EXIT_CONFIG, Part, run_together
from serving.server import ServerHandle, Service

Build = Callable[..., Service]

SERVICES: Final[dict[Name, tuple[type[ServiceConfig], Build]]] = {
    "retrieval_svc": (RetrievalConfig, retrieval_root.build),
    "prerank_svc": (PrerankConfig, prerank_root.build),
    "rank_svc": (RankConfig, rank_root.build),
    "rerank_svc": (RerankConfig, rerank_root.build),
    "gateway": (GatewayConfig, gateway_root.build),
}


ANY_ADDRESS: Final = ("[::]", "0.0.0.0")
LOOPBACK: Final = ("127.0.0.1", "[::1]", "localhost")


class Neighbours:
    """The servers of this process, by the addresses at which this machine reaches them."""

    def __init__(self) -> None:
        self._servers: dict[str, ServerHandle] = {}

    def add(self, config: ServiceConfig, server: ServerHandle) -> None:
        """A server has started."""
        host, _, port = config.listen.rpartition(":")
        names = (config.listen, *(f"{name}:{port}" for name in LOOPBACK if host in ANY_ADDRESS))
        self._servers |= dict.fromkeys(names, server)

    def open_channel(self, address: str, *others: Any, **named: Any) -> Any:
        """A channel to a neighbour if one listens at `address`, else one over the network."""
        if address in self._servers:
            return self._servers[address].local_channel()
        return open_channel(address, *others, **named)


def parts_of(config: ColocatedConfig, neighbours: Neighbours) -> list[Part]:
    """Every service with its settings. Raises ConfigError naming every wrong variable."""
    parts: list[Part] = []
    last = config.hosted[-1]
    for name, address in config.listen.items():
        config_class, build = SERVICES[name]
        if name == "gateway":
            build = partial(build, open_channel=neighbours.open_channel)
        own: dict[str, str | None] = {"listen": address, "health_listen": None}  # one port for the health of all
        if name != last:
            own["metrics_listen"] = None  # what all measure is shown together, with the settings of the last one
        parts.append((load(config_class, **own), build))
    return parts


def main() -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code: 0, 1 if a service cannot start, 2 for a wrong environment."""
    neighbours = Neighbours()
    try:
        config = load(ColocatedConfig)
        parts = parts_of(config, neighbours)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    logs.configure(config.log_level)
    give_back_large_buffers()
    freeze_what_is_loaded()
    return run_together(parts, neighbours.add, config.health_listen)


if __name__ == "__main__":
    sys.exit(main())
