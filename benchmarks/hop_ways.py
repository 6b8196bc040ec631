"""The ways of an empty hop that benchmarks/hop.py compares, both ends of them: `python -m benchmarks.hop_ways [--serve]`.

This process calls, one that it starts with `--serve` answers. For every line {"hops": N, "backwards": B} on its input it says how
many microseconds of CPU both took for a hop of each way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import grpc
import grpc.aio
import uvloop

from benchmarks.cpu_time import cpu_seconds
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

OURS, BARE = "unary, as our services call", "unary, nothing around it"
STREAM, PAIR = "stream, ids, deadlines, tasks", "stream, nothing around it"
WAYS = (OURS, BARE, STREAM, PAIR)

_PAIRS, _MANY = "/explore.v1.Benchmark/Pairs", "/explore.v1.Benchmark/Many"
_TIMEOUT_S = 30.0
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]

Hop = Callable[[], Awaitable[Any]]


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


async def measure() -> None:
    """Answers line by line until the input ends."""
    with _serving() as (server, bare, ours):
        async with AsyncExitStack() as stack:
            ways = await _ways(stack, bare, ours)
            processes = (os.getpid(), server.pid)
            for line in sys.stdin:  # nothing else is to run between two lines
                told, found = json.loads(line), {}
                for name in reversed(WAYS) if told["backwards"] else WAYS:
                    before = cpu_seconds(processes)
                    await _hops(ways[name], told["hops"])
                    found[name] = (cpu_seconds(processes) - before) / told["hops"] * 1e6
                print(json.dumps(found), flush=True)


@contextmanager
def _serving() -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The other process, and the ports of its two servers."""
    command = [sys.executable, "-m", "benchmarks.hop_ways", "--serve"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        bare, ours = server.stdout.readline().split()
        yield server, bare, ours
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


def main() -> None:
    """Calls, or serves, until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hop_ways", description=__doc__.splitlines()[0])
    parser.add_argument("--serve", action="store_true", help="be the other process")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve() if parser.parse_args().serve else measure())


if __name__ == "__main__":
    main()
