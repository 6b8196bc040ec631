"""Asks a gateway for pages from a pod inside the cluster, until SIGTERM; a line of JSON a second says how it went.

It runs in a container of the serve image, which holds neither this package nor the load tests, so it imports what the image has.
`python cluster_client.py TARGET CLIENTS USERS DEADLINE_S OPTIONS`; OPTIONS are those of the channel, a JSON list of pairs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import grpc.aio

from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub

FULL = 25
_REPORT_S = 1.0


@dataclass
class Tally:
    """The pages of one second."""

    took_ms: list[float] = field(default_factory=list)
    not_full: int = 0
    degraded: Counter[str] = field(default_factory=Counter)  # by detail
    failed: Counter[str] = field(default_factory=Counter)  # by status and detail

    def line(self) -> str:
        """All of it as JSON, one line."""
        said = {"at": time.time(), "took_ms": self.took_ms, "not_full": self.not_full}
        return json.dumps(said | {"degraded": self.degraded, "failed": self.failed})


class Asking:
    """What all clients found since the last report."""

    def __init__(self) -> None:
        self.tally = Tally()

    async def pages(self, target: str, options: list[tuple[str, int | str]], users: range, deadline_s: float) -> None:
        """One client, with a connection of its own: the page of one user after the other, without a break."""
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            stub = ExploreServiceStub(channel)
            while True:
                for user in users:
                    await self._page(stub, str(user), deadline_s)

    async def _page(self, stub: ExploreServiceStub, user: str, deadline_s: float) -> None:
        begun_s = time.monotonic()
        try:
            page = await stub.GetFeed(GetFeedRequest(user_id=user), timeout=deadline_s)
        except grpc.aio.AioRpcError as error:
            self.tally.failed[f"{error.code().name}: {error.details()}"] += 1
            await asyncio.sleep(0.05)  # a refusal that comes at once must not keep a core busy
            return
        self.tally.took_ms.append(round((time.monotonic() - begun_s) * 1e3, 1))
        self.tally.not_full += len(page.items) < FULL
        for degradation in page.degradations[:1]:
            self.tally.degraded[degradation.detail] += 1

    async def report(self) -> None:
        """Prints and forgets, once a second."""
        while True:
            await asyncio.sleep(_REPORT_S)
            self.say()

    def say(self) -> None:
        """Prints what there is since the last line."""
        tally, self.tally = self.tally, Tally()
        print(tally.line(), flush=True)


async def main() -> None:
    """Asks until it is told to end."""
    target, clients, users, deadline_s, options = sys.argv[1:]
    asking = Asking()
    pairs = [(name, value) for name, value in json.loads(options)]
    tasks = [
        asyncio.create_task(asking.pages(target, pairs, range(client, int(users), int(clients)), float(deadline_s)))
        for client in range(int(clients))
    ]
    tasks.append(asyncio.create_task(asking.report()))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: [task.cancel() for task in tasks])
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)
    asking.say()


if __name__ == "__main__":
    asyncio.run(main())
