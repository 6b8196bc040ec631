"""The load of benchmarks/overload.py, as a process of its own: reads phases from stdin, writes what each saw to stdout, both JSON.

Callers that wait for their answer before they ask again (closed loop), or calls that come whatever became of others (open loop).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np
import uvloop

from protos.explore.v1 import feed_pb2
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from serving.interceptors import PUSHBACK

GET_FEED = f"/{feed_pb2.DESCRIPTOR.services_by_name['ExploreService'].full_name}/GetFeed"
PAGE = 25
NORMAL_RUN = 10  # so many normal pages in a row, and the service is back to normal
_TOKENS = 500  # later pages follow one of the newest so many first pages
_LATER_PAGES = 0.3  # of the calls; the others open a feed
_TICK_S = 0.01  # calls due within it are sent together: a client that woke up for each would take the servers' cores


@dataclass(frozen=True)
class Phase:
    """What to do: `callers` > 0, closed loop; else `rate` calls a second. Pages that take over `normal_ms` are not normal."""

    name: str
    seconds: float
    callers: int = 0
    rate: float = 0.0
    normal_ms: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What became of one call. `kind`: "page" (full), "degraded" (full, a stage was lost), "shed", or the status of a failure."""

    kind: str
    first: bool  # it opened a feed
    end_s: float  # from the begin of the phase
    ms: float  # from sending to the answer

    @property
    def accepted(self) -> bool:
        """It was let in, and got its page or ran out of time."""
        return self.kind in ("page", "degraded", "DEADLINE_EXCEEDED")


@dataclass
class Seen:
    """What came of the calls of a phase."""

    phase: Phase
    answers: list[Answer] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)  # what degraded pages lost, and why
    no_retry: int = 0  # of the shed: told not to try again
    lag_ms: list[float] = field(default_factory=list)  # how late calls were sent
    cores: float = 0.0  # that this process took meanwhile

    def summary(self) -> dict[str, Any]:
        """Plain JSON. Latencies in milliseconds."""
        kinds = Counter(answer.kind for answer in self.answers)
        shed = kinds.pop("shed", 0)
        pages, degraded = kinds.pop("page", 0), kinds.pop("degraded", 0)
        return {
            "offered": len(self.answers),
            "goodput": (pages + degraded) / self.phase.seconds,
            "undegraded": pages / self.phase.seconds,
            "degraded": degraded,
            "lost": dict(self.lost),
            "failed": dict(kinds),
            "shed": shed,
            "no_retry": self.no_retry,
            "client_cores": self.cores,
            "let_in": {
                "first pages": _share([answer.accepted for answer in self.answers if answer.first]),
                "later pages": _share([answer.accepted for answer in self.answers if not answer.first]),
            },
            "page_ms": _percentiles([answer.ms for answer in self.answers if answer.accepted]),
            "shed_ms": _percentiles([answer.ms for answer in self.answers if answer.kind == "shed"]),
            "lag_ms": _percentiles(self.lag_ms),
            "normal_after_s": self._normal_after_s(),
        }

    def _normal_after_s(self) -> float:
        """When the first run of NORMAL_RUN normal pages began; the length of the phase if there was none."""
        run, begin_s = 0, 0.0
        for answer in self.answers:
            if answer.kind == "page" and answer.ms <= self.phase.normal_ms:
                run += 1
            else:
                run, begin_s = 0, answer.end_s
            if run == NORMAL_RUN:
                return begin_s
        return self.phase.seconds


class Client:
    """One channel, and requests that stand ready as bytes."""

    def __init__(self, address: str, users: list[str], deadline_s: float) -> None:
        self._channel = grpc.aio.insecure_channel(address, [("grpc.max_receive_message_length", 16 * 1024 * 1024)])
        self._call = self._channel.unary_unary(GET_FEED, None, None)
        self._deadline_s = deadline_s
        self._random = random.Random(1)
        self._users = users
        self._tokens: deque[tuple[str, str]] = deque(maxlen=_TOKENS)

    async def run(self, phase: Phase) -> Seen:
        """One phase; returns once every call of it has ended."""
        seen, start, cpu_s = Seen(phase), time.perf_counter(), time.process_time()
        if phase.callers:
            await asyncio.gather(*(self._caller(seen, start) for _ in range(phase.callers)))
        else:
            await self._arrivals(seen, start)
        seen.cores = (time.process_time() - cpu_s) / (time.perf_counter() - start)
        return seen

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close(None)

    async def _caller(self, seen: Seen, start: float) -> None:
        while time.perf_counter() - start < seen.phase.seconds:
            await self._ask(seen, start)

    async def _arrivals(self, seen: Seen, start: float) -> None:
        calls: set[asyncio.Task[None]] = set()
        for due_s in self._schedule(seen.phase):
            late_s = time.perf_counter() - start - due_s
            if late_s < 0:
                await asyncio.sleep(_TICK_S - late_s)
                late_s = time.perf_counter() - start - due_s
            seen.lag_ms.append(max(late_s, 0.0) * 1e3)
            call = asyncio.create_task(self._ask(seen, start))
            calls.add(call)
            call.add_done_callback(calls.discard)
        await asyncio.gather(*calls)

    def _schedule(self, phase: Phase) -> Iterator[float]:
        """Poisson arrivals."""
        due_s = 0.0
        while due_s < phase.seconds:
            yield due_s
            due_s += self._random.expovariate(phase.rate)

    async def _ask(self, seen: Seen, start: float) -> None:
        later = bool(self._tokens) and self._random.random() < _LATER_PAGES
        user, token = self._random.choice(self._tokens) if later else (self._random.choice(self._users), "")
        request = GetFeedRequest(user_id=user, page_token=token).SerializeToString()
        sent = time.perf_counter()
        try:
            page = GetFeedResponse.FromString(await self._call(request, timeout=self._deadline_s))
        except grpc.aio.AioRpcError as error:
            kind = "shed" if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else error.code().name
            metadata: Any = error.trailing_metadata() or ()
            seen.no_retry += any(key == PUSHBACK and str(value).startswith("-") for key, value in metadata)
        else:
            lost = [entry for entry in page.degradations if entry.reason != feed_pb2.DEGRADATION_REASON_UNDER_DELIVERED]
            seen.lost.update(f"{entry.stage}: {_reason(entry.reason)}" for entry in lost)
            kind = "not full" if len(page.items) != PAGE else "degraded" if lost else "page"
            if not later and page.next_page_token:
                self._tokens.append((user, page.next_page_token))
        now = time.perf_counter()
        seen.answers.append(Answer(kind, not later, now - start, (now - sent) * 1e3))


def _reason(number: int) -> str:
    return str(feed_pb2.DegradationReason.Name(number)).removeprefix("DEGRADATION_REASON_").lower()


def _share(held: list[bool]) -> float:
    return sum(held) / len(held) if held else 0.0


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{at}": float(np.percentile(values, at)) for at in (50, 90, 99, 100)} if values else {}


async def _serve_phases(address: str, users: list[str], deadline_s: float) -> None:
    client = Client(address, users, deadline_s)
    for line in sys.stdin:
        seen = await client.run(Phase(**json.loads(line)))
        print(json.dumps(seen.summary()), flush=True)
    await client.close()


def main() -> None:
    """Arguments: HOST:PORT, a JSON file with user ids, the deadline in seconds. One phase per line of stdin."""
    address, users_file, deadline_s = sys.argv[1:]
    with open(users_file, encoding="utf-8") as file:
        users = json.load(file)
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve_phases(address, users, float(deadline_s)))


if __name__ == "__main__":
    main()
