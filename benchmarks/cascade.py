"""What do five services cost beside the arithmetic itself? The cascade, one process with the same stages, and a naive one, side by side.

`python -m benchmarks.cascade [--quick] [--floors-only] [--profile BATCH] [--cache DIR]`. The reference job (benchmarks/reference.py)
is made by the benchmark itself. All ways of serving it take turns in one run; CPU time is that of all server processes together.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valkey import Valkey

from benchmarks import cascade_tables as shown
from benchmarks.cascade_floors import Floors, Sample, open_floors
from benchmarks.cascade_worker import Load
from benchmarks.floor import Asked
from benchmarks.reference import FULL, QUICK, ROOT, Reference, make_reference
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from benchmarks.sourcing_world import NOW_MS
from cli import processes
from cli import stack as stacks
from cli.progress import Steps, steps
from cli.stack import Ports

NAIVE, NAIVE_TWO = "naive floor", "naive floor, two processes"
OURS, OURS_TWO = "our floor", "our floor, two processes"
BATCHED, BATCHED_TWO = "our floor, in batches", "our floor, in batches, two processes"
BATCH = 8
FLOOR_RATIO, SAME_PAGES, SAME_VALUES = 2.0, 0.999, 1e-3


@dataclass(frozen=True)
class Lengths:
    """Seconds of a phase, how often all of them are repeated, and how many pages are compared."""

    phase_s: float
    rounds: int
    compared: int


FULL_LENGTHS, QUICK_LENGTHS = Lengths(6.0, 5, 2_000), Lengths(1.0, 2, 200)


@dataclass(frozen=True)
class Job:
    """The reference job with its users in a Valkey."""

    reference: Reference
    valkey_url: str
    valkey_pid: int

    @property
    def users(self) -> list[str]:
        return self.reference.people.user_ids


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    lengths = QUICK_LENGTHS if arguments.quick else FULL_LENGTHS
    with steps() as bars, opened_job(arguments.quick, arguments.cache, bars) as job:
        if arguments.profile:
            return _profile(job, arguments.profile)
        figures = _floors_only(job, lengths, bars)
    result = Result(_name(arguments), command_line("benchmarks.cascade"), figures, _checks(figures), _tables(figures))
    return finish(result, tables=None if arguments.quick or arguments.floors_only else TABLES)


@contextmanager
def opened_job(quick: bool, cache: Path, bars: Steps) -> Iterator[Job]:
    """The reference job and its Valkey, which ends with the block."""
    reference = make_reference(QUICK if quick else FULL, cache, bars)
    with tempfile.TemporaryDirectory(prefix="explore-cascade-") as scratch:
        ports = Ports.free()
        process = stacks.start_valkey(Path(scratch), ports.valkey, Path(scratch) / "valkey.log")
        try:
            with Valkey.from_url(ports.valkey_url) as client:
                stacks.wait_for_valkey(client, process)
                reference.people.load(client, bars)
            yield Job(reference, ports.valkey_url, process.pid)
        finally:
            processes.stop([process], stacks.STOP_GRACE_S)


def _floors_only(job: Job, lengths: Lengths, bars: Steps) -> dict[str, Any]:
    with open_floors(job.reference, job.valkey_url, job.valkey_pid, processes=2) as floors:
        with bars.step("comparing pages"):
            same = _compared(floors, job.users[: lengths.compared])
        ways = floor_ways(floors, job, lengths)
        samples = take_turns(ways, lengths.rounds, bars)
    return {"pages": same, "samples": {name: [shown.plain(each) for each in taken] for name, taken in samples.items()}}


def floor_ways(floors: Floors, job: Job, lengths: Lengths) -> dict[str, Callable[[], Sample]]:
    """Every way of asking the floors."""

    def way(kind: str, processes: int, batch: int) -> Callable[[], Sample]:
        return lambda: floors.load(kind, processes, Load(job.users, lengths.phase_s, batch))

    return {
        NAIVE: way("naive", 1, 1),
        OURS: way("ours", 1, 1),
        BATCHED: way("ours", 1, BATCH),
        NAIVE_TWO: way("naive", 2, 1),
        OURS_TWO: way("ours", 2, 1),
        BATCHED_TWO: way("ours", 2, BATCH),
    }


def take_turns(ways: dict[str, Callable[[], Sample]], rounds: int, bars: Steps) -> dict[str, list[Sample]]:
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


def _compared(floors: Floors, users: list[str]) -> dict[str, float]:
    """The pages of both floors for the same users at the same moments."""
    asked = [Asked(user, NOW_MS + 1_000 * number) for number, user in enumerate(users)]
    naive, ours = (floors.workers[kind][0].pages(asked) for kind in ("naive", "ours"))
    return differences(naive, ours)


def differences(some: list[list[tuple[int, float]]], others: list[list[tuple[int, float]]]) -> dict[str, float]:
    """How many pages hold the same ids, in the same order, and how far the values of the same media lie apart at most."""
    worst, same, in_order = 0.0, 0, 0
    for one, other in zip(some, others, strict=True):
        values = dict(other)
        same += {media for media, _ in one} == values.keys()
        in_order += [media for media, _ in one] == [media for media, _ in other]
        worst = max([worst, *(abs(value - values[media]) for media, value in one if media in values)])
    pages = len(some)
    return {"pages": pages, "same_ids": same / pages, "same_order": in_order / pages, "worst_value_gap": worst}


def _checks(figures: dict[str, Any]) -> list[Check]:
    cpu_ms = {name: shown.median(taken, "cpu_ms") for name, taken in figures["samples"].items()}
    return [
        at_least(
            "requests per CPU second, our floor in batches / naive floor", cpu_ms[NAIVE] / cpu_ms[BATCHED], FLOOR_RATIO
        ),
        at_least("pages with the same ids, naive floor and ours", figures["pages"]["same_ids"], SAME_PAGES),
        at_most("largest gap of a value, naive floor and ours", figures["pages"]["worst_value_gap"], SAME_VALUES),
    ]


def _tables(figures: dict[str, Any]) -> list[Any]:
    return [shown.ways_table(figures["samples"], OURS), shown.stages_table(figures["samples"], [OURS, BATCHED])]


def _profile(job: Job, batch: int) -> int:
    """Our floor alone under the profiler."""
    reference = job.reference
    arguments = ["ours", str(reference.bundle_root), str(reference.igql_file), job.valkey_url]
    command = [sys.executable, "-m", "benchmarks.cascade_worker", *arguments, str(len(job.users)), str(batch)]
    return subprocess.run(command, check=False).returncode


def _name(arguments: argparse.Namespace) -> str:
    name = "cascade_floors" if arguments.floors_only else "cascade"
    return f"{name}_quick" if arguments.quick else name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cascade", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller world, within 60 seconds on two cores")
    parser.add_argument("--floors-only", action="store_true", help="no servers: the naive floor and ours")
    parser.add_argument("--profile", type=int, metavar="BATCH", help="profile our floor, so many users at a time")
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / "benchmarks", help="where what is made is kept")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
