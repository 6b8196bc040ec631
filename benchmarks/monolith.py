"""Our floor behind one gRPC server: the whole cascade in one process, one such process per core.

`python -m benchmarks.monolith ADDRESS BUNDLES IGQL_FILE VALKEY_URL`. What waits while a batch is under way makes the next one, as
coalesced calls of the cascade do. Requests are checked and pages sent as the gateway does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from benchmarks.floor import Asked, Floor
from benchmarks.sourcing_world import NOW_MS
from gateway.clock import clock_from
from gateway.config import GatewayConfig
from gateway.feed import FeedRequest, Page
from gateway.servicer import parse, respond
from gateway.trace import Trace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceServicer, add_ExploreServiceServicer_to_server
from serving.memory import freeze_what_is_loaded, give_back_large_buffers

TOGETHER = 8  # users at a time, at most: as many as a coalesced call carries


@dataclass(frozen=True)
class _Waiting:
    request: FeedRequest
    page: asyncio.Future[Page]


class Monolith(ExploreServiceServicer):
    """One page per call."""

    def __init__(self, floor: Floor) -> None:
        self._floor, self._config, self._clock = floor, GatewayConfig(), clock_from(NOW_MS)
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()

    async def GetFeed(self, request: GetFeedRequest, context: Any) -> GetFeedResponse:
        """The next page for a user."""
        feed_request = parse(request, self._config, self._clock())
        waiting = _Waiting(feed_request, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(waiting)
        return respond(await waiting.page, feed_request, Trace(request.debug))

    async def work(self) -> None:
        """Makes pages, for ever."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < TOGETHER and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                pages = await self._floor.pages([_asked(each.request) for each in batch])
            except Exception as error:  # theirs to raise, or they would wait for ever
                for each in batch:
                    each.page.set_exception(error)
                continue
            for each, page in zip(batch, pages, strict=True):
                if not each.page.cancelled():
                    each.page.set_result(page)


def _asked(request: FeedRequest) -> Asked:
    return Asked(request.user_id, request.time_ms, request_id=request.request_id)


async def _serve(address: str, bundles: Path, igql_file: Path, valkey_url: str) -> None:
    floor = Floor.open(bundles, igql_file, valkey_url, in_thread=True)
    server, monolith = grpc.aio.server(options=[("grpc.so_reuseport", 0)]), Monolith(floor)
    add_ExploreServiceServicer_to_server(monolith, server)
    server.add_insecure_port(address)
    await server.start()
    working, told_to_stop = asyncio.create_task(monolith.work()), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    await told_to_stop.wait()
    await server.stop(1.0)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await floor.close()


def main() -> None:
    """Serves until SIGTERM."""
    address, bundles, igql_file, valkey_url = sys.argv[1:]
    give_back_large_buffers()
    freeze_what_is_loaded()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(address, Path(bundles), Path(igql_file), valkey_url))


if __name__ == "__main__":
    main()
