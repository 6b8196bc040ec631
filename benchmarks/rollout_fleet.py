"""Several replicas of every service that find each other by lists of addresses, and a Valkey. Knows how to replace one of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc
from valkey import Valkey

from benchmarks.engines import Engine, Replica
from cli import processes
from cli import stack as stacks
from cli.stack import SERVICES
from serving.config import variable

DRAIN_S = 10.0  # of a service that is told to end
_START_TIMEOUT_S = 90.0
_GRACE_S = 30.0
_POLL_S = 0.05
_STAGES = ("retrieval", "prerank", "rank", "rerank")


@dataclass(frozen=True)
class Restart:
    """One replica that was replaced. Times are seconds of the monotonic clock."""

    replica: str
    told_s: float  # SIGTERM
    ended_s: float
    ready_s: float
    exit_code: int


class Fleet:
    """The replicas by name, "rank_svc-2" for example; each keeps its address when it is replaced."""

    def __init__(self, engine: Engine, replicas: int, clock: str, valkey_url: str) -> None:
        self.replicas = {f"{service}-{n}": service for n in range(1, replicas + 1) for service in SERVICES}
        addresses = [f"127.0.0.1:{port}" for port in free_ports(len(self.replicas))]
        self.addresses = dict(zip(self.replicas, addresses, strict=True))
        self._engine, self._clock, self._valkey_url = engine, clock, valkey_url
        self._running: dict[str, Replica] = {}

    @property
    def gateway_target(self) -> str:
        """All gateways, as gRPC takes a list of addresses."""
        return "ipv4:" + self._addresses_of("gateway")

    def start(self) -> None:
        """Starts all replicas at once; returns when all of them serve. Raises RuntimeError with the end of a log."""
        for replica in self.replicas:
            self._launch(replica)
        for replica in self.replicas:
            self._wait_ready(replica)

    def replace(self, replica: str) -> Restart:
        """SIGTERM, drain, end; then a new one on the same address. Returns when it serves."""
        told_s = time.monotonic()
        running = self._running.pop(replica)
        running.terminate()
        code = running.wait(_GRACE_S)
        ended_s = time.monotonic()
        self._launch(replica)
        self._wait_ready(replica)
        return Restart(replica, told_s, ended_s, time.monotonic(), code)

    def stop(self) -> dict[str, int]:
        """Ends everything that runs: gateways first, so that no page is half-made. The exit codes by name."""
        codes = dict[str, int]()
        for gateways in (True, False):
            names = [name for name in self._running if (self.replicas[name] == "gateway") is gateways]
            for name in names:
                self._running[name].terminate()
            codes |= {name: self._running.pop(name).wait(_GRACE_S) for name in names}
        return codes

    def _launch(self, replica: str) -> None:
        service = self.replicas[replica]
        settings = {"listen": self.addresses[replica], "drain_s": f"{DRAIN_S:g}"}
        if service == "gateway":
            settings |= {f"{stage}_address": self._addresses_of(f"{stage}_svc") for stage in _STAGES}
            settings |= {"valkey_url": self._valkey_url, "clock": self._clock}
        told = {variable(name): value for name, value in settings.items()}
        self._running[replica] = self._engine.start(replica, service, told)

    def _addresses_of(self, service: str) -> str:
        return ",".join(self.addresses[name] for name, its in self.replicas.items() if its == service)

    def _wait_ready(self, replica: str) -> None:
        deadline, running = time.monotonic() + _START_TIMEOUT_S, self._running[replica]
        with grpc.insecure_channel(self.addresses[replica]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while not stacks.is_serving(health):
                if not running.alive() or time.monotonic() > deadline:
                    running.terminate()
                    code = self._running.pop(replica).wait(_GRACE_S)
                    end = "\n".join(running.log.read_text("utf-8", "replace").splitlines()[-8:])
                    raise RuntimeError(
                        f"{replica} did not get ready and exited with {code}; the end of its log:\n{end}"
                    )
                time.sleep(_POLL_S)


@contextmanager
def fleet_on(engine: Engine, replicas: int, clock: str, scratch: Path) -> Iterator[tuple[Fleet, str]]:
    """A fleet that is yet to be started, and the URL of the empty Valkey beside it; both end with the block, whatever happens."""
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    process = stacks.start_valkey(scratch / "valkey", port, scratch / "logs" / "valkey.log")
    fleet = Fleet(engine, replicas, clock, url)
    try:
        with Valkey.from_url(url) as client:
            stacks.wait_for_valkey(client, process)
        yield fleet, url
    finally:
        fleet.stop()
        processes.stop([process], _GRACE_S)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
