"""A queueing simulation of a page's way through the stages: measured service times in, latencies out. Knows no stack.

Requests arrive at random and visit stations in series. A station has servers and one queue, first come first served; a server that
gets free takes up to `batch` of those that wait for the same visit, as the gateway's shared calls do, and they go on together. All
busy servers share the cores there are: with more of them than cores, each goes slower. That is what happens where the whole stack
runs on one machine; without a number of cores, every server has its own.

Shapes: R requests, S measured service times.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
WARM_UP = 0.1  # share of the requests that find a system emptier than it will be


@dataclass(frozen=True)
class Station:
    """Where work is done. `servers`: jobs at a time; `batch`: requests in a job, at most."""

    servers: int = 1
    batch: int = 1


@dataclass(frozen=True)
class Visit:
    """A request's stay at a station. `work_s_S`: service times of a lone request, drawn with replacement.

    `growth`: requests in a job -> how many times a lone one's work it is; straight lines between and after. Empty: as many times.
    """

    station: str
    work_s_S: Float64
    growth: Mapping[int, float] = field(default_factory=dict)

    def times(self, requests: int) -> float:
        """How many times a lone request's work a job of so many is."""
        known = {1: 1.0, **self.growth}
        sizes = sorted(known)
        if requests <= sizes[-1]:
            return float(np.interp(requests, sizes, [known[size] for size in sizes]))
        if len(sizes) == 1:
            return float(requests)
        low, high = sizes[-2:]
        return known[high] + (requests - high) * (known[high] - known[low]) / (high - low)


@dataclass(frozen=True)
class Line:
    """A page's way. `delay_s`: what passes besides, on no core and in no queue."""

    stations: Mapping[str, Station]
    visits: Sequence[Visit]
    delay_s: float = 0.0

    def lone_s(self) -> float:
        """Mean latency of a request that meets nobody."""
        return self.delay_s + sum(float(visit.work_s_S.mean()) for visit in self.visits)


@dataclass(order=True)
class _Job:
    ends: float  # on the clock that runs as fast as a busy server works
    number: int
    visit: int = field(compare=False)
    members: list[int] = field(compare=False)


def poisson(rate: float, requests: int, rng: np.random.Generator) -> Float64:
    """Moments of arrival in seconds, so many a second on average."""
    return np.cumsum(rng.exponential(1 / rate, requests))


def latencies(line: Line, arrival_s_R: Float64, rng: np.random.Generator, cores: int | None = None) -> Float64:
    """Seconds from arrival to the end of the last visit, by request. Shape [R]."""
    return _Simulation(line, arrival_s_R, rng, cores).run()


def quantiles_ms(latency_s_R: Float64) -> dict[str, float]:
    """p50 and p99 once warm."""
    warm = latency_s_R[int(WARM_UP * len(latency_s_R)) :] * 1e3
    return {"p50": float(np.quantile(warm, 0.5)), "p99": float(np.quantile(warm, 0.99))}


class _Simulation:
    """One run. All busy servers are equally fast, so one clock of work serves them all, and jobs end in the order of its times."""

    def __init__(self, line: Line, arrival_s_R: Float64, rng: np.random.Generator, cores: int | None) -> None:
        self._line, self._arrival_s_R, self._cores = line, arrival_s_R, cores
        shape = len(arrival_s_R)
        self._work_s = [visit.work_s_S[rng.integers(len(visit.work_s_S), size=shape)] for visit in line.visits]
        self._queues: dict[str, deque[tuple[int, int]]] = {name: deque() for name in line.stations}
        self._free = {name: station.servers for name, station in line.stations.items()}
        self._running: list[_Job] = []
        self._now = self._work_clock = 0.0
        self._jobs = 0

    def run(self) -> Float64:
        """Until the last request is done."""
        done_s_R = np.full(len(self._arrival_s_R), np.nan)
        arrivals = iter(self._arrival_s_R.tolist())
        next_request, next_arrival = 0, next(arrivals, math.inf)
        while self._running or next_arrival < math.inf:
            next_end = self._next_end()
            if next_arrival <= next_end:
                self._advance(next_arrival)
                self._join_queue([next_request], 0)
                next_request, next_arrival = next_request + 1, next(arrivals, math.inf)
                continue
            self._advance(next_end)
            job = heapq.heappop(self._running)
            name = self._line.visits[job.visit].station
            self._free[name] += 1
            if job.visit + 1 < len(self._line.visits):
                self._join_queue(job.members, job.visit + 1)
            else:
                done_s_R[job.members] = self._now
            self._serve(name)
        return done_s_R - self._arrival_s_R + self._line.delay_s

    def _speed(self) -> float:
        return 1.0 if self._cores is None else min(1.0, self._cores / len(self._running))

    def _next_end(self) -> float:
        if not self._running:
            return math.inf
        return self._now + max(self._running[0].ends - self._work_clock, 0.0) / self._speed()

    def _advance(self, now: float) -> None:
        if self._running:
            self._work_clock += (now - self._now) * self._speed()
        self._now = now

    def _join_queue(self, requests: Sequence[int], visit: int) -> None:
        """Those of one job go on together, so the next free server finds all of them."""
        name = self._line.visits[visit].station
        self._queues[name].extend((request, visit) for request in requests)
        self._serve(name)

    def _serve(self, name: str) -> None:
        queue = self._queues[name]
        while queue and self._free[name]:
            self._free[name] -= 1
            visit, members = queue[0][1], list[int]()
            while queue and queue[0][1] == visit and len(members) < self._line.stations[name].batch:
                members.append(queue.popleft()[0])
            work_s = self._work_s[visit][members[0]] * self._line.visits[visit].times(len(members))
            self._jobs += 1
            heapq.heappush(self._running, _Job(self._work_clock + float(work_s), self._jobs, visit, members))
