"""The load of benchmarks/cascade.py, as a process of its own: reads phases from stdin, writes what each saw to stdout, both JSON.

Callers that wait for their answer before they ask again (closed loop), or calls that come at random moments whatever became of
others (open loop), whose latency counts from the moment at which they should have been sent. Several connections, requests that
stand ready as bytes: what the client takes from the servers' cores is little, and counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import grpc
import grpc.aio
import numpy as np
import uvloop

from protos.explore.v1 import feed_pb2
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse

GET_FEED = f"/{feed_pb2.DESCRIPTOR.services_by_name['ExploreService'].full_name}/GetFeed"
PAGE = 25
DEADLINE_S = 5.0  # long enough for 32 callers of a slow machine: what is measured here is no overload
CONNECTIONS = 2  # to every address


@dataclass(frozen=True)
class Phase:
    """What to do: `callers` > 0, closed loop; else `rate` calls a second."""

    addresses: list[str]
    seconds: float
    callers: int = 0
    rate: float = 0.0
    seed: int = 0


@dataclass
class Seen:
    """What came of the calls of a phase."""

    ms: list[float] = field(default_factory=list)  # of whole pages
    other: Counter[str] = field(default_factory=Counter)  # calls without one, by what became of them
    late_ms: float = 0.0  # the most that a call of the open loop was sent too late


class Client:
    """Connections to everything that was asked so far, and the users' requests as bytes."""

    def __init__(self, users: list[str]) -> None:
        self._requests = [GetFeedRequest(user_id=user).SerializeToString() for user in users]
        self._calls: dict[str, list[Any]] = {}
        self._next = 0

    async def run(self, phase: Phase) -> dict[str, Any]:
        """One phase; returns once every call of it has ended."""
        calls = cycle([call for address in phase.addresses for call in self._connected(address)])
        seen, start, cpu_s = Seen(), time.perf_counter(), time.process_time()
        if phase.callers:
            await asyncio.gather(*(self._caller(next(calls), phase, start, seen) for _ in range(phase.callers)))
        else:
            await self._arrivals(calls, phase, start, seen)
        wall_s = time.perf_counter() - start
        p50, p99 = np.percentile(seen.ms, [50, 99]).tolist() if seen.ms else (0.0, 0.0)
        return {
            "requests": len(seen.ms),
            "wall_s": wall_s,
            "client_cpu_s": time.process_time() - cpu_s,
            "ms": {"p50": p50, "p99": p99},
            "lost": dict(seen.other),
            "late_ms": seen.late_ms,
        }

    async def page(self, address: str, user_id: str) -> dict[str, Any]:
        """One page, for a comparison."""
        call = self._connected(address)[0]
        page = GetFeedResponse.FromString(
            await call(GetFeedRequest(user_id=user_id).SerializeToString(), timeout=DEADLINE_S)
        )
        return {
            "request_id": page.request_id,
            "items": [(item.media_id, item.value) for item in page.items],
            "degradations": [f"{each.stage}: {each.detail}" for each in page.degradations],
        }

    def _connected(self, address: str) -> list[Any]:
        if address not in self._calls:
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 16 * 1024 * 1024)]
            channels = [grpc.aio.insecure_channel(address, options) for _ in range(CONNECTIONS)]
            self._calls[address] = [channel.unary_unary(GET_FEED, None, None) for channel in channels]
        return self._calls[address]

    async def _caller(self, call: Any, phase: Phase, start: float, seen: Seen) -> None:
        while (now := time.perf_counter()) - start < phase.seconds:
            await self._ask(call, now, seen)

    async def _arrivals(self, calls: Iterator[Any], phase: Phase, start: float, seen: Seen) -> None:
        asked: set[asyncio.Task[None]] = set()
        draw, due_s = random.Random(phase.seed), 0.0
        while due_s < phase.seconds:
            if (wait_s := start + due_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            seen.late_ms = max(seen.late_ms, (time.perf_counter() - start - due_s) * 1e3)
            task = asyncio.create_task(self._ask(next(calls), start + due_s, seen))
            asked.add(task)
            task.add_done_callback(asked.discard)
            due_s += draw.expovariate(phase.rate)
        await asyncio.gather(*asked)

    async def _ask(self, call: Any, since: float, seen: Seen) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        try:
            page = GetFeedResponse.FromString(await call(request, timeout=DEADLINE_S))
        except grpc.aio.AioRpcError as error:
            seen.other[error.code().name] += 1
            return
        if page.degradations or len(page.items) != PAGE:
            seen.other["degraded" if page.degradations else "not full"] += 1
        else:
            seen.ms.append((time.perf_counter() - since) * 1e3)


async def _serve_phases(users: list[str]) -> None:
    client = Client(users)
    for line in sys.stdin:
        command = json.loads(line)
        if "page" in command:
            found = await client.page(*command["page"])
        else:
            found = await client.run(Phase(**command["phase"]))
        print(json.dumps(found), flush=True)


def main() -> None:
    """Argument: a JSON file with user ids. One command per line of stdin."""
    with open(sys.argv[1], encoding="utf-8") as file:
        users = json.load(file)
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve_phases(users))


if __name__ == "__main__":
    main()
