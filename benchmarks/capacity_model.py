"""The stack as a line of stations, made of what was measured: what `benchmarks.queueing` simulates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.capacity_stages import STAGES, Costs, StageCost
from benchmarks.queueing import Float64, Line, Station, Visit, latencies, poisson, quantiles_ms
from serving.call_policy import CallPolicy

SEED = 1
CLIENT = "client"


def line_of(costs: Costs, client_ms: float) -> Line:
    """One process of each kind, and a client that takes so much CPU per request.

    A stage's work is its CPU time, spread as the times that its caller waited for it; the gateway's is even over its turns. What
    remains of a lone page's latency, and no process computed, is a delay.
    """
    turn_ms, growth = costs.stages["gateway"].cpu_ms / (len(STAGES) + 1), costs.stages["gateway"].growth()
    gateway = replace(_even("gateway", turn_ms), growth=growth)
    visits = [_even(CLIENT, client_ms), _even("valkey", costs.stages["valkey"].cpu_ms), gateway]
    for name in STAGES:
        visits += [_spread(name, costs.stages[name]), gateway]
    batch = CallPolicy().batch_users
    # The gateway goes on with all pages of an answer in one turn, so they ask the next stage together.
    shared = ("gateway", *STAGES)
    stations = {visit.station: Station(batch=batch if visit.station in shared else 1) for visit in visits}
    busy_ms = sum(stage.cpu_ms for stage in costs.stages.values())
    return Line(stations, visits, max(float(np.mean(costs.page_ms)) - busy_ms, 0.0) / 1e3)


def at_pace(line: Line, pace: float) -> Line:
    """The same line on a machine that takes `pace` times as long; the client's work is left as it is, measured under load."""
    visits = [
        visit if visit.station == CLIENT else replace(visit, work_s_S=visit.work_s_S * pace) for visit in line.visits
    ]
    return replace(line, visits=visits, delay_s=line.delay_s * pace)


def predicted_ms(line: Line, rate: float, pages: int, cores: int | None) -> dict[str, float]:
    """p50 and p99 at so many pages a second."""
    rng = np.random.default_rng(SEED)
    return quantiles_ms(latencies(line, poisson(rate, pages, rng), rng, cores))


def by_utilisation(costs: Costs, shares: Sequence[float], pages: int) -> dict[float, dict[str, float]]:
    """p50 and p99 of a cluster in which every process has a core of its own, and of each kind as many as its work asks for.

    The smallest such cluster: larger ones are better, as fewer pages find every replica busy.
    """
    line = line_of(costs, client_ms=0.0)
    work_s = {name: costs.stages[name].cpu_ms / 1e3 for name in ("gateway", *STAGES)}
    least_s = min(each for each in work_s.values() if each > 0)
    replicas = {name: max(math.ceil(each / least_s), 1) for name, each in work_s.items()}
    rate = min(replicas[name] / each for name, each in work_s.items() if each > 0)
    stations = {
        name: Station(replicas.get(name, pages), station.batch) for name, station in line.stations.items()
    }  # the client and Valkey are in nobody's way
    cluster = Line(stations, line.visits, line.delay_s)
    return {share: predicted_ms(cluster, share * rate, pages, cores=None) for share in shares}


def _even(station: str, ms: float) -> Visit:
    return Visit(station, np.array([ms / 1e3]))


def _spread(station: str, cost: StageCost) -> Visit:
    wall_S: Float64 = np.array(cost.wall_ms)
    return Visit(station, wall_S / wall_S.mean() * cost.cpu_ms / 1e3, cost.growth())
