"""The ways of serving the reference job that benchmarks/cascade.py takes turns with. Knows names and loads; starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.cascade_floors import Floors, Sample
from benchmarks.cascade_servers import Client, Server
from benchmarks.cascade_worker import Load
from cli.progress import Steps

NAIVE, OURS, BATCHED = "naive floor", "our floor", "our floor, in batches"
MONOLITH, CASCADE, SOCKETS, TOGETHER = "monolith", "cascade", "cascade, sockets", "cascade, one process"
BATCH = 8

Way = Callable[[], Sample]


def two(name: str) -> str:
    """The same way in two processes at once."""
    return f"{name}, 2 processes"


def closed(name: str, callers: int) -> str:
    """A server with so many callers who wait for each answer."""
    return f"{name}, {callers} callers"


def opened(name: str, share: float) -> str:
    """A server at a share of its saturation."""
    return f"{name}, at {share:.0%}"


def floor_ways(floors: Floors, users: list[str], seconds: float, both: bool) -> dict[str, Way]:
    """Every way of asking the floors, one process of each and, with `both`, two at once."""

    def way(kind: str, processes: int, batch: int) -> Way:
        return lambda: floors.load(kind, processes, Load(users, seconds, batch))

    kinds = ((NAIVE, "naive", 1), (OURS, "ours", 1), (BATCHED, "ours", BATCH))
    ways = {name: way(kind, 1, batch) for name, kind, batch in kinds}
    return ways | ({two(name): way(kind, 2, batch) for name, kind, batch in kinds} if both else {})


def closed_loops(client: Client, name: str, server: Server, callers: Sequence[int], seconds: float) -> dict[str, Way]:
    """Every number of callers."""

    def way(count: int) -> Way:
        return lambda: client.load(server, seconds, callers=count)

    return {closed(name, count): way(count) for count in callers}


def open_loops(
    client: Client, name: str, server: Server, per_s: float, shares: Sequence[float], seconds: float
) -> dict[str, Way]:
    """Calls that come at shares of `per_s`, at the same moments in every round."""

    def way(share: float) -> Way:
        return lambda: client.load(server, 2 * seconds, rate=share * per_s, seed=round(100 * share))

    return {opened(name, share): way(share) for share in shares}


def take_turns(ways: dict[str, Way], rounds: int, bars: Steps) -> dict[str, list[Sample]]:
    """Every way once a round, each round in another order, after a round that only warms up."""
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    names = list(ways)
    with bars.step("taking turns") as report:
        for turn in range(-1, rounds):
            for place in range(len(names)):
                name = names[(place + turn) % len(names)]
                sample = ways[name]()
                if turn >= 0:
                    samples[name].append(sample)
                report((turn + 1) * len(names) + place + 1, (rounds + 1) * len(names))
    return samples
