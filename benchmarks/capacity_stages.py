"""What one page costs in each process, and each call in bytes: measured on a running stack, one thing at a time.

Pages are asked through a second gateway whose stages are recorders: they hand every call on and keep it. The recorded calls are
then made again, straight to the stage, alone and joined as the gateway joins them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from benchmarks.load_stack import cpu_s, planned
from cli import processes, stack
from cli.stack import SERVICES, STOP_GRACE_S, RunningStack
from cli.workspace import Workspace
from protos.explore.v1 import ranking_pb2, retrieval_pb2, status_pb2
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.ranking_pb2 import RankRequest
from protos.explore.v1.retrieval_pb2 import RetrieveRequest
from serving.wire import RankAsk, RetrieveAsk, decode_candidates
from serving.wire.joining import RankJoining, RetrieveJoining

STAGES = SERVICES[:-1]  # without the gateway
BATCHES = (2, 4, 8)
_LIMIT = [("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.max_send_message_length", 64 * 1024 * 1024)]
_TIMEOUT_S = 30.0
_QUANTILES = np.linspace(0, 1, 101)
_RECORDER_THREADS = 8
_MOST_ASKED = 4  # times the pages that are wanted: a page that lost a stage was not asked of it


def _method(file: Any, service: str, name: str) -> str:
    return f"/{file.DESCRIPTOR.services_by_name[service].full_name}/{name}"


_STATUS = _method(status_pb2, "StatusService", "GetStatus")
_RETRIEVE = _method(retrieval_pb2, "RetrievalService", "Retrieve")
_RANK = _method(ranking_pb2, "RankingService", "Rank")


if TYPE_CHECKING:
    _Handler = grpc.GenericRpcHandler[Any, Any]
else:
    _Handler = grpc.GenericRpcHandler  # generic in its type stubs only


class Recorder(_Handler):
    """Stands before a stage: hands calls on as they are, and keeps those of pages."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.calls: list[tuple[bytes, int]] = []  # request, size of the answer

    def service(self, details: Any) -> Any:
        """gRPC's hook. Health watches are not known here, so that the caller takes the stage for healthy."""
        if details.method not in (_STATUS, _RETRIEVE, _RANK):
            return None
        forward = self._channel.unary_unary(details.method, None, None)

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            answer: bytes = forward(request, timeout=context.time_remaining())
            if details.method != _STATUS:
                self.calls.append((request, len(answer)))
            return answer

        return grpc.unary_unary_rpc_method_handler(call, None, None)


@contextmanager
def recorded_gateway(
    workspace: Workspace, running: RunningStack, scratch: Path
) -> Iterator[tuple[str, dict[str, Recorder]]]:
    """The address of a gateway on the same stages, and what it asks them."""
    with ExitStack() as open_things:
        recorders = dict[str, Recorder]()
        ports: dict[str, Any] = {}
        for name in STAGES:
            channel = open_things.enter_context(grpc.insecure_channel(running.ports.address(name), _LIMIT))
            server = grpc.server(ThreadPoolExecutor(_RECORDER_THREADS), options=_LIMIT)
            recorders[name] = Recorder(channel)
            server.add_generic_rpc_handlers((recorders[name],))
            ports[name] = server.add_insecure_port("127.0.0.1:0")
            server.start()
            open_things.callback(_ended, server)
        theirs = replace(running.ports, gateway=stack.Ports.free().gateway, **ports)
        plan = planned(workspace, scratch, theirs)
        environment = plan.environment("gateway") | {"EXPLORE_FUNNEL_LOG_SHARE": "0"}
        gateway = stack.launch("gateway", scratch / "gateway.log", environment)
        open_things.callback(lambda: processes.stop([gateway], STOP_GRACE_S))
        stack.wait_ready(gateway, theirs.address("gateway"))
        yield theirs.address("gateway"), recorders


def _ended(server: grpc.Server) -> None:
    server.stop(None).wait()


@dataclass(frozen=True)
class StageCost:
    """A process's part in a page. Milliseconds of CPU per request of one user, by how many shared the call."""

    cpu_ms: float  # alone, as part of a page
    batch_cpu_ms: dict[int, float] = field(default_factory=dict)  # calls of the same size to it, and nothing else
    wall_ms: list[float] = field(default_factory=list)  # 101 quantiles of what its caller waited for it
    request_bytes: float = 0.0
    response_bytes: float = 0.0

    def growth(self) -> dict[int, float]:
        """Requests in a call -> how many times a lone one's CPU it takes."""
        alone = self.batch_cpu_ms.get(1, 0.0)
        return {size: size * ms / alone for size, ms in self.batch_cpu_ms.items() if size > 1} if alone > 0 else {}


@dataclass(frozen=True)
class Costs:
    """What pages cost that were asked one by one."""

    pages: int
    page_ms: list[float]  # 101 quantiles
    stages: dict[str, StageCost]  # by process, Valkey too
    request_bytes: float
    response_bytes: float


def measured_costs(
    workspace: Workspace, running: RunningStack, scratch: Path, users: Sequence[str], recorded: int
) -> Costs:
    """Asks for a page of each user, alone and several at once, and for `recorded` pages through the recorders."""
    before, sizes, walls, asked = dict[str, float](), list[tuple[int, int]](), list[float](), 0
    with grpc.insecure_channel(running.ports.address("gateway"), _LIMIT) as channel:
        ask = ExploreServiceStub(channel).GetFeed
        for number, user in enumerate([users[0], *users]):
            if number == 1:  # the first one opened the channels
                before = cpu_s(running)
            request = GetFeedRequest(user_id=user)
            start = time.perf_counter()
            page = ask(request, timeout=_TIMEOUT_S)
            walls.append((time.perf_counter() - start) * 1e3)
            sizes.append((request.ByteSize(), page.ByteSize()))
        cpu = {name: (used - before[name]) * 1e3 / len(users) for name, used in cpu_s(running).items()}
        stages = {name: StageCost(ms) for name, ms in cpu.items()}
        at_once = _at_once(ask, users, lambda: cpu_s(running)["gateway"])
        stages["gateway"] = StageCost(cpu["gateway"], {1: cpu["gateway"], **at_once})
    with recorded_gateway(workspace, running, scratch) as (address, recorders):
        with grpc.insecure_channel(address, _LIMIT) as channel:
            for user in cycle(users):
                ExploreServiceStub(channel).GetFeed(GetFeedRequest(user_id=user), timeout=_TIMEOUT_S)
                asked += 1
                if asked >= _MOST_ASKED * recorded or all(len(each.calls) >= recorded for each in recorders.values()):
                    break
        calls = {name: list(recorder.calls) for name, recorder in recorders.items()}
    for name in STAGES:
        stages[name] = _replayed(running, name, calls[name], cpu[name])
    sent, received = (statistics.mean(size[side] for size in sizes[1:]) for side in (0, 1))
    return Costs(len(users), np.quantile(walls[1:], _QUANTILES).tolist(), stages, sent, received)


def lone_cpu_ms(running: RunningStack, users: Sequence[str]) -> float:
    """CPU of all processes for a page, asked for one by one: how fast the machine is now."""
    with grpc.insecure_channel(running.ports.address("gateway"), _LIMIT) as channel:
        ask = ExploreServiceStub(channel).GetFeed
        ask(GetFeedRequest(user_id=users[0]), timeout=_TIMEOUT_S)  # opens the channel
        before = sum(cpu_s(running).values())
        for user in users:
            ask(GetFeedRequest(user_id=user), timeout=_TIMEOUT_S)
        return (sum(cpu_s(running).values()) - before) * 1e3 / len(users)


def _at_once(ask: Any, users: Sequence[str], cpu: Callable[[], float]) -> dict[int, float]:
    """Milliseconds of CPU per page, by how many are asked for at once."""
    found = {}
    for size in BATCHES:
        groups = [users[i : i + size] for i in range(0, len(users) - size + 1, size)]
        before = cpu()
        for group in groups:
            calls = [ask.future(GetFeedRequest(user_id=user), timeout=_TIMEOUT_S) for user in group]
            for call in calls:
                call.result()
        found[size] = (cpu() - before) * 1e3 / max(len(groups) * size, 1)
    return found


def _replayed(running: RunningStack, name: str, calls: list[tuple[bytes, int]], cpu_ms: float) -> StageCost:
    """Makes the recorded calls again, at least once per size of batch."""
    if not calls:
        raise RuntimeError(f"no page asked {name}")
    of_retrieval = name == "retrieval_svc"
    joined_of = _joined_retrieve if of_retrieval else _joined_rank
    batches, walls = dict[int, float](), list[float]()
    with grpc.insecure_channel(running.ports.address(name), _LIMIT) as channel:
        send = channel.unary_unary(_RETRIEVE if of_retrieval else _RANK, None, None)
        for size in (1, *BATCHES):
            parts = [calls[i : i + size] for i in range(0, len(calls) - size + 1, size)]
            payloads = [joined_of([request for request, _ in part]) if size > 1 else part[0][0] for part in parts]
            took, used_s = _sent(send, payloads, lambda: cpu_s(running)[name])
            batches[size] = used_s * 1e3 / (len(payloads) * size)
            walls = walls or took
    return StageCost(
        cpu_ms=cpu_ms,
        batch_cpu_ms=batches,
        wall_ms=np.quantile(walls, _QUANTILES).tolist(),
        request_bytes=statistics.mean(len(request) for request, _ in calls),
        response_bytes=statistics.mean(size for _, size in calls),
    )


def _joined_retrieve(requests: Sequence[bytes]) -> bytes:
    asks = [
        RetrieveAsk(message.users, message.counts, message.queries, message.request_id, message.bundle_version)
        for message in map(RetrieveRequest.FromString, requests)
    ]
    return RetrieveJoining().join(asks).message().SerializeToString()


def _joined_rank(requests: Sequence[bytes]) -> bytes:
    asks = []
    for message in map(RankRequest.FromString, requests):
        candidates = decode_candidates(message.candidates, len(message.users))
        weights = [dict(table.by_task) for table in message.weights]
        asks.append(
            RankAsk(message.users, candidates, weights, message.keep, message.request_id, message.bundle_version)
        )
    return RankJoining().join(asks).message().SerializeToString()


def _sent(send: Any, payloads: Sequence[bytes], cpu: Callable[[], float]) -> tuple[list[float], float]:
    """Milliseconds that each call took, and the CPU seconds of all."""
    before, walls = cpu(), []
    for payload in payloads:
        start = time.perf_counter()
        send(payload, timeout=_TIMEOUT_S)
        walls.append((time.perf_counter() - start) * 1e3)
    return walls, cpu() - before
