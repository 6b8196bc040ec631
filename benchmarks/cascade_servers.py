"""The servers of benchmarks/cascade.py, five services over loopback or over sockets, and monoliths; and their client."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc

from benchmarks.cascade_client import DEADLINE_S, Phase
from benchmarks.cascade_floors import Sample
from benchmarks.cpu_time import cpu_seconds
from benchmarks.line_worker import LineWorker
from benchmarks.reference import Reference
from cli import processes
from cli import stack as stacks
from cli.processes import Process
from cli.stack import SERVICES, Ports, StackPlan

STAGES = {
    "retrieval_svc": "RETRIEVAL_ADDRESS",
    "prerank_svc": "PRERANK_ADDRESS",
    "rank_svc": "RANK_ADDRESS",
    "rerank_svc": "RERANK_ADDRESS",
}
# Nothing may be skipped on a busy machine: a page that lost a stage costs less than a whole one.
_PATIENT = {"DEADLINE_S": str(DEADLINE_S), "STATE_TIMEOUT_S": "2", "QUEUE_WAIT_SHARE": "1"}
_GRACE_S = 60.0  # a phase that takes so much longer than it should has hung
_READY_S = 150.0


@dataclass(frozen=True)
class Server:
    """Something that serves pages: where it is asked, and the processes that it is made of."""

    addresses: list[str]
    processes: tuple[Process, ...]
    ready_s: Mapping[str, float] = field(default_factory=dict)  # from the start of each process until it was ready

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]


@contextmanager
def five_services(
    reference: Reference,
    valkey_url: str,
    settings: Mapping[str, str] | None = None,
    sockets: bool = False,
    watched: Path | None = None,
    one_by_one: bool = False,
    replicas: int = 1,
) -> Iterator[Server]:
    """The cascade as `explore up` starts it, but for the Valkey, which it shares with all others.

    `one_by_one`: each service starts when the one before is ready, and its time is taken. With `watched`, each service leaves
    there what benchmarks/cascade_seams.py measured. `replicas`: of every stage, behind one gateway.
    """
    with tempfile.TemporaryDirectory(prefix="explore-cascade-") as directory:
        scratch, ports = Path(directory), _ports(valkey_url)
        hosts = [ports, *(Ports.free() for _ in range(1, replicas))]
        addresses = {
            service: [
                f"unix:{scratch}/{service}-{number}.sock" if sockets else host.address(service)
                for number, host in enumerate(hosts if service in STAGES else hosts[:1])
            ]
            for service in SERVICES
        }
        plan = _plan(reference, ports, scratch, settings)
        started, ready_s = dict[str, Process](), dict[str, float]()
        try:
            for service, address in [(name, each) for name, own in addresses.items() for each in own]:
                own = {**plan.environment(service), "EXPLORE_LISTEN": address}
                if service == "gateway":
                    own |= {f"EXPLORE_{name}": ",".join(addresses[stage]) for stage, name in STAGES.items()}
                start_s = time.perf_counter()
                module = [service]
                if watched is not None:
                    module = ["benchmarks.cascade_seams", service, str(watched / f"{service}.json")]
                command = [sys.executable, "-m", *module]
                log = scratch / f"{service}.log"
                started[address] = processes.start(service, command, log, own, defaults=stacks.GRPC_ENVIRONMENT)
                if one_by_one:
                    stacks.wait_ready(started[address], address)
                    ready_s[service] = time.perf_counter() - start_s
            for address, process in started.items():
                stacks.wait_ready(process, address)
            yield Server(addresses["gateway"], tuple(started.values()), ready_s)
        finally:
            processes.stop(list(reversed(started.values())), stacks.STOP_GRACE_S)


@contextmanager
def one_process(reference: Reference, valkey_url: str, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """The five services as `explore up --colocate all` starts them."""
    with tempfile.TemporaryDirectory(prefix="explore-cascade-") as directory:
        ports = _ports(valkey_url)
        plan = replace(_plan(reference, ports, Path(directory), settings), colocated=SERVICES)
        started = stacks.launch_together(plan)
        try:
            for process in started:
                stacks.wait_ready(process, ports.address(process.name))
            yield Server([ports.address("gateway")], (started[0],))
        finally:
            processes.stop(started[:1], stacks.STOP_GRACE_S)


@contextmanager
def monoliths(reference: Reference, valkey_url: str, count: int) -> Iterator[Server]:
    """So many processes of benchmarks/monolith.py, each on a port of its own."""
    ports = Ports.free()
    addresses = [ports.address(name) for name in SERVICES[:count]]
    with tempfile.TemporaryDirectory(prefix="explore-monolith-") as directory:
        started = list[Process]()
        try:
            for address in addresses:
                arguments = [address, str(reference.bundle_root), str(reference.igql_file), valkey_url]
                command = [sys.executable, "-m", "benchmarks.monolith", *arguments]
                log = Path(directory) / "monolith.log"
                started.append(processes.start("monolith", command, log, {}, defaults=stacks.GRPC_ENVIRONMENT))
            for address, process in zip(addresses, started, strict=True):
                _wait_connected(address, process)
            yield Server(addresses, tuple(started))
        finally:
            processes.stop(started, stacks.STOP_GRACE_S)


class Client:
    """The process that sends the load, to whichever server."""

    def __init__(self, users: list[str], directory: Path, valkey_pid: int) -> None:
        file = directory / "users.json"
        file.write_text(json.dumps(users), encoding="utf-8")
        self._worker = LineWorker("the client", "benchmarks.cascade_client", [str(file)], _GRACE_S)
        self._valkey_pid = valkey_pid

    def load(self, server: Server, seconds: float, callers: int = 0, rate: float = 0.0, seed: int = 0) -> Sample:
        """One phase. CPU time is that of the server's processes and of Valkey, while it ran."""
        before, valkey_s = cpu_seconds(server.pids), cpu_seconds([self._valkey_pid])
        phase = Phase(server.addresses, seconds, callers, rate, seed)
        found = self._ask({"phase": asdict(phase)}, seconds)
        valkey_s = cpu_seconds([self._valkey_pid]) - valkey_s
        return Sample(
            requests=found["requests"],
            wall_s=found["wall_s"],
            cpu_s=cpu_seconds(server.pids) - before + valkey_s,
            valkey_cpu_s=valkey_s,
            ms=found["ms"],
            client_cpu_s=found["client_cpu_s"],
            lost=found["lost"],
        )

    def page(self, server: Server, user_id: str) -> dict[str, Any]:
        """Request id, items and degradations of one page, which is remembered."""
        return self._ask({"page": [server.addresses[0], user_id]}, DEADLINE_S)

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()

    def _ask(self, command: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._worker.tell(command)
        return dict(self._worker.answer(seconds))


def _ports(valkey_url: str) -> Ports:
    """Free ones, but that of the Valkey that runs already."""
    return replace(Ports.free(), valkey=int(valkey_url.rsplit(":", 1)[1].partition("/")[0]))


def _plan(reference: Reference, ports: Ports, scratch: Path, settings: Mapping[str, str] | None) -> StackPlan:
    takedowns = scratch / "takedowns.txt"
    takedowns.touch()
    return StackPlan(
        bundle_root=reference.bundle_root,
        user_state=scratch,
        run=scratch,
        ports=ports,
        dataset="reference",
        clock="data",
        igql_file=reference.igql_file,
        takedown_file=takedowns,
        settings={**_PATIENT, **(settings or {})},
    )


def _wait_connected(address: str, process: Process) -> None:
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(_READY_S)
        except grpc.FutureTimeoutError:
            raise RuntimeError(f"a monolith did not get ready:\n{processes.last_lines(process)}") from None
