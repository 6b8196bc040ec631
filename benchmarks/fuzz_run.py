"""Sends spoiled requests to a running stack and judges the answers: wrong input is the caller's mistake, never the server's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from benchmarks.fuzz_requests import Request, Rpc, request
from cli.processes import Process
from cli.stack import SERVICES, Ports, RunningStack, started_at_ms
from protos.explore.v1.feed_pb2 import DegradationReason, GetFeedResponse

IN_FLIGHT = 8
DEADLINE_S = 20.0  # of one call; a request that takes longer holds up others
_SEND_LIMIT = 64 * 1024 * 1024  # ours must not be what stops a large message
_GET_FEED = "/explore.v1.ExploreService/GetFeed"
# What a service may say of a request. UNAVAILABLE and DEADLINE_EXCEEDED would say that it was ended or held up by one.
FINE = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


@dataclass
class Findings:
    """What became of the requests."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)  # (service and method, status)
    wrong: list[tuple[Request, str]] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Requests that were answered."""
        return self.statuses.total()


@dataclass(frozen=True)
class Life:
    """One process at one moment: which it is, when it started, and the memory that is its own (RssAnon, bytes)."""

    pid: int
    started_ms: int | None
    memory: int

    def same(self, other: Life) -> bool:
        """Whether it is the same process still."""
        return (self.pid, self.started_ms) == (other.pid, other.started_ms)


@dataclass(frozen=True)
class Way:
    """How to reach one service: without waiting, and with waiting in a thread."""

    channel: grpc.aio.Channel
    blocking: grpc.Channel


@asynccontextmanager
async def channels(ports: Ports) -> AsyncIterator[Mapping[str, Way]]:
    """The ways to the five services."""
    options = [("grpc.max_send_message_length", _SEND_LIMIT), ("grpc.max_receive_message_length", _SEND_LIMIT)]
    async with AsyncExitStack() as stack:
        ways = {}
        for service in SERVICES:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(ports.address(service), options))
            blocking = stack.enter_context(grpc.insecure_channel(ports.address(service), options))
            ways[service] = Way(channel, blocking)
        yield ways


@dataclass(frozen=True)
class Numbered:
    """Some of the requests of a seed."""

    seed: int
    numbers: range


async def send_all(
    ports: Ports,
    rpcs: Sequence[Rpc],
    which: Numbered,
    findings: Findings,
    report: Callable[[], None] = lambda: None,
) -> None:
    """Sends the requests, IN_FLIGHT at a time, and adds to `findings` what became of them. Tells `report` after each."""
    left = iter(which.numbers)

    async def worker(to: Mapping[str, Way]) -> None:
        for number in left:
            spoilt = request(rpcs, which.seed, number)
            status, problem = await send(to, spoilt)
            findings.statuses[f"{spoilt.service} {spoilt.path.rsplit('/', 1)[1]}", status] += 1
            if problem:
                findings.wrong.append((spoilt, problem))
            report()

    async with channels(ports) as to:
        await asyncio.gather(*(worker(to) for _ in range(IN_FLIGHT)))


async def send(to: Mapping[str, Way], spoilt: Request) -> tuple[str, str]:
    """The status of the answer, and what is wrong with it; empty if nothing is."""
    try:
        answer = await _call(to[spoilt.service], spoilt)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code.name, "" if code in FINE else f"{code.name}: {error.details()}"
    return "OK", _hidden(spoilt, answer)


async def _call(way: Way, spoilt: Request) -> bytes:
    """The answer, empty if it is a stream. Raises RpcError."""
    if spoilt.streams_in:
        return await asyncio.to_thread(_stream, way.blocking, spoilt)
    if spoilt.streams_out:
        stream: Any = way.channel.unary_stream
        watch = stream(spoilt.path)(spoilt.messages[0], timeout=DEADLINE_S)
        await watch.read()  # it goes on for ever
        watch.cancel()
        return b""
    unary: Any = way.channel.unary_unary
    answer: bytes = await unary(spoilt.path)(spoilt.messages[0], timeout=DEADLINE_S)
    return answer


def _stream(channel: grpc.Channel, spoilt: Request) -> bytes:
    """Sends a stream. Where a server ends one that is still written to, grpc.aio loses the status (it says INTERNAL itself)."""
    many: Any = channel.stream_stream if spoilt.streams_out else channel.stream_unary
    answers = many(spoilt.path)(iter(spoilt.messages), timeout=DEADLINE_S)
    if not spoilt.streams_out:
        return bytes(answers)
    for _ in answers:
        pass
    return b""


def _hidden(spoilt: Request, answer: bytes) -> str:
    """A stage that could not stand what the gateway made of a request: the page hides it, we do not."""
    if spoilt.path != _GET_FEED:
        return ""
    lost = [
        f"{entry.stage}: {entry.detail}"
        for entry in GetFeedResponse.FromString(answer).degradations
        if entry.reason == DegradationReason.DEGRADATION_REASON_ERROR
    ]
    return f"a page that hides {'; '.join(lost)}" if lost else ""


def lives(stack: RunningStack) -> dict[str, Life]:
    """All processes of the stack as they are now."""
    return {process.name: _life(process, stack.ports) for process in stack.processes}


def _life(process: Process, ports: Ports) -> Life:
    if not process.alive():
        return Life(-1, None, 0)
    started = started_at_ms(ports.address(process.name)) if process.name in SERVICES else None
    return Life(process.pid, started, _own_memory(process.pid))


def _own_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
