"""What an empty hop costs on both sides: a unary call of our services, a bare one, and a pair of messages on a stream.

A bare pair is the least that a hop over a long-lived stream can cost. One that could take the place of a call needs more: answers
find their callers by an id, a caller gives up at its deadline, and a request is answered in a task of its own, so that one can be
cancelled without the others. Traces, statuses and admission would come on top, as they do for calls. Caller and server are two
processes on loopback with uvloop and take turns in one run; CPU time is that of both, as wall time depends far more on
other work. `python -m benchmarks.hop [--quick]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import uvloop
from rich import box
from rich.table import Table

from benchmarks.cpu_time import cpu_seconds
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import steps
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.ranking_pb2_grpc import (
    RankingServiceServicer,
    RankingServiceStub,
    add_RankingServiceServicer_to_server,
)
from serving.call_policy import CallPolicy
from serving.channels import RankCalls, StageConnection, open_channel
from serving.config import ServiceConfig
from serving.ranking import RANKING
from serving.server import ServerHandle, Service
from serving.telemetry import MemoryTelemetry

HOPS = 4  # of a page
PAGE_CPU_MS = 29.7  # of all processes, for a lone caller, when the hop was recorded; benchmarks.cascade has today's
MOST_SAVED = 0.05  # of a page; more would be a reason to build streams (docs/decisions/0028-unary-calls.md)
OURS, BARE = "unary, as our services call", "unary, nothing around it"
STREAM, PAIR = "stream, ids, deadlines, tasks", "stream, nothing around it"

_PAIRS, _MANY = "/explore.v1.Benchmark/Pairs", "/explore.v1.Benchmark/Many"
_TIMEOUT_S = 30.0
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]

Hop = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Lengths:
    """Hops in one turn of one way, and turns."""

    hops: int
    turns: int


FULL, QUICK = Lengths(3_000, 11), Lengths(600, 3)


class _Empty(RankingServiceServicer):
    """Answers without any work."""

    async def Rank(self, request: RankRequest, context: Any) -> RankResponse:
        """The RPC."""
        return RankResponse()


async def _pairs(requests: AsyncIterator[RankRequest], context: Any) -> AsyncIterator[RankResponse]:
    async for _ in requests:
        yield RankResponse()


async def _many(requests: AsyncIterator[RankRequest], context: Any) -> None:
    """Every request is answered by a task, when it is done; the answer carries the request's id as its version."""
    running, writing = set[asyncio.Task[None]](), asyncio.Lock()  # gRPC takes one message at a time

    async def answer(request: RankRequest) -> None:
        async with writing:
            await context.write(RankResponse(bundle_version=request.request_id))

    async for request in requests:
        task = asyncio.create_task(answer(request))
        running.add(task)
        task.add_done_callback(running.discard)


class _Multiplexed:
    """The caller's end of `_many`: any number of requests at a time on one stream."""

    def __init__(self, call: Any) -> None:
        self._call, self._number, self._writing = call, 0, asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[RankResponse]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, timeout_s: float) -> RankResponse:
        """The answer to a request of its own."""
        self._number += 1
        number = str(self._number)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                async with self._writing:
                    await self._call.write(RankRequest(request_id=number))
                return await answer
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Ends the stream."""
        self._reading.cancel()
        self._call.cancel()

    async def _read(self) -> None:
        while (response := await self._call.read()) is not _EOF:
            waiting = self._waiting.get(response.bundle_version)
            if waiting is not None and not waiting.done():
                waiting.set_result(response)


async def serve() -> None:
    """Both servers, until stdin is closed; their ports are the first line of stdout."""
    bare = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_RankingServiceServicer_to_server(_Empty(), bare)
    handlers = {
        path.rpartition("/")[2]: grpc.stream_stream_rpc_method_handler(
            behaviour, request_deserializer=RankRequest.FromString, response_serializer=RankResponse.SerializeToString
        )
        for path, behaviour in ((_PAIRS, _pairs), (_MANY, _many))
    }
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("explore.v1.Benchmark", handlers),))
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    config = ServiceConfig(listen="127.0.0.1:0", drain_s=0.1)
    telemetry = MemoryTelemetry()

    def register(server: grpc.aio.Server) -> None:
        add_RankingServiceServicer_to_server(_Empty(), server)

    ours = ServerHandle(config, Service((RANKING,), register), telemetry)
    await ours.start()
    await ours.ready.wait()
    print(port, ours.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.gather(ours.stop(), bare.stop(0))


async def measure(lengths: Lengths, report: Callable[[int, int], None]) -> dict[str, list[float]]:
    """Microseconds of CPU per hop on both sides together, one figure per turn, by way."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hop", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        bare, ours = server.stdout.readline().split()
        async with AsyncExitStack() as stack:
            ways = await _ways(stack, bare, ours)
            for hop in ways.values():
                await _hops(hop, lengths.hops // 3)  # opens connections and warms up
            found: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(lengths.turns):
                for name in list(ways) if turn % 2 else reversed(ways):
                    before = cpu_seconds((os.getpid(), server.pid))
                    await _hops(ways[name], lengths.hops)
                    found[name].append((cpu_seconds((os.getpid(), server.pid)) - before) / lengths.hops * 1e6)
                report(turn + 1, lengths.turns)
        return found
    finally:
        server.stdin.close()
        try:
            server.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


async def _hops(hop: Hop, count: int) -> None:
    for _ in range(count):
        await hop()


async def _ways(stack: AsyncExitStack, bare: str, ours: str) -> dict[str, Hop]:
    """One empty hop of each kind, one at a time: a stage has one call out per replica (`CallPolicy.calls_per_endpoint`)."""
    connection = StageConnection("rank", f"127.0.0.1:{ours}", CallPolicy(), 16 * 1024 * 1024)
    stack.push_async_callback(connection.close)
    client = RankCalls(connection, "rank")
    channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{bare}"))
    rank, request = RankingServiceStub(channel).Rank, RankRequest()
    pairs, many = (_stream(channel, path) for path in (_PAIRS, _MANY))
    stack.callback(pairs.cancel)
    multiplexed = _Multiplexed(many)
    stack.callback(multiplexed.close)

    async def pair() -> None:
        await pairs.write(request)
        assert await pairs.read() is not _EOF

    return {
        OURS: lambda: client.rank(request, _TIMEOUT_S),
        BARE: lambda: rank(request, timeout=_TIMEOUT_S),
        STREAM: lambda: multiplexed.ask(_TIMEOUT_S),
        PAIR: pair,
    }


def _stream(channel: grpc.aio.Channel, path: str) -> Any:
    open_stream: Any = channel.stream_stream(
        path, request_serializer=RankRequest.SerializeToString, response_deserializer=RankResponse.FromString
    )
    return open_stream()


def figures_of(found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians with their spread, and what streams could save at most of a page."""
    median = {name: statistics.median(values) for name, values in found.items()}
    saved_us = {name: median[BARE] - median[name] for name in (STREAM, PAIR)}
    return {
        "cpu_us": {
            name: {"median": median[name], "min": min(values), "max": max(values)} for name, values in found.items()
        },
        "hops": HOPS,
        "page_cpu_ms": PAGE_CPU_MS,
        "saved_us": saved_us,
        "saved_of_page": {name: HOPS * us / 1e3 / PAGE_CPU_MS for name, us in saved_us.items()},
    }


def checks_of(figures: Mapping[str, Any]) -> list[Check]:
    """What decision 28 stands on."""
    return [
        at_least("CPU of a bare unary call, us (nothing is free)", figures["cpu_us"][BARE]["median"], 1),
        at_most(
            "what a stream with ids, deadlines and tasks saves of a page (above: see decision 28)",
            figures["saved_of_page"][STREAM],
            MOST_SAVED,
        ),
    ]


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table(title="CPU of an empty hop, caller and server together", box=box.SIMPLE_HEAD)
    for column in ("way", "us", "min", "max"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, found in figures["cpu_us"].items():
        table.add_row(name, *(f"{found[column]:.0f}" for column in ("median", "min", "max")))
    return table


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hop", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer hops: seconds instead of a minute")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)  # the other process
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if arguments.serve:
            runner.run(serve())
            return 0
        with steps() as progress, progress.step("turns") as report:
            found = runner.run(measure(QUICK if arguments.quick else FULL, report))
    figures = figures_of(found)
    name = "hop_quick" if arguments.quick else "hop"
    result = Result(name, command_line("benchmarks.hop"), figures, checks_of(figures), [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


if __name__ == "__main__":
    raise SystemExit(main())
