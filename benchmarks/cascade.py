"""What do five services cost beside the arithmetic itself? The cascade and the same stages in one process, side by side.

`python -m benchmarks.cascade [--quick] [--floors-only] [--profile BATCH] [--set NAME=VALUE] [--cache DIR]`. The reference job,
which the benchmark makes by itself (benchmarks/reference.py), is served by a naive process, by our stages in one process (alone and
in batches), by the same behind one server per core, and by the five services: over loopback, over sockets, and hosted in one
process. All take turns in one run, asked by the same client; CPU time is that of all server processes, Valkey's included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valkey import Valkey

from benchmarks import cascade_tables as shown
from benchmarks.cascade_chart import draw_parts
from benchmarks.cascade_checks import checks_of, floor_checks
from benchmarks.cascade_floors import Sample, open_floors
from benchmarks.cascade_pages import compared_floors, compared_servers
from benchmarks.cascade_seams import PARTS, REST, VALKEY
from benchmarks.cascade_servers import Client, Server, five_services, monoliths, one_process
from benchmarks.cascade_ways import (
    BATCH,
    BATCHED,
    CASCADE,
    MONOLITH,
    OURS,
    SOCKETS,
    TOGETHER,
    Way,
    closed,
    closed_loops,
    floor_ways,
    open_loops,
    take_turns,
)
from benchmarks.cascade_worker import Load
from benchmarks.reference import FULL, QUICK, ROOT, Reference, make_reference
from benchmarks.report import TABLES, Result, command_line, finish
from cli import processes
from cli import stack as stacks
from cli.progress import Steps, steps
from cli.stack import Ports

CALLERS = (1, 8, 32)
SHARES = (0.5, 0.8, 0.95)  # of saturation
CORES = 2
WATCHED = "watched"


@dataclass(frozen=True)
class Lengths:
    """Seconds of a phase, how often all of them are repeated, how many pages are compared, and whether to try two processes."""

    phase_s: float
    rounds: int
    compared: int
    compared_servers: int
    two_processes: bool


FULL_LENGTHS, QUICK_LENGTHS = Lengths(4.0, 5, 1_000, 400, True), Lengths(0.5, 2, 60, 16, False)


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
    lengths = QUICK_LENGTHS if arguments.quick else replace(FULL_LENGTHS, rounds=arguments.rounds)
    with steps() as bars, opened_job(QUICK if arguments.quick else FULL, arguments.cache, bars) as job:
        if arguments.profile:
            return _profile(job, arguments.profile)
        if arguments.floors_only:
            figures = _floors_only(job, lengths, bars)
        else:
            figures = _everything(job, lengths, dict(arguments.settings), bars)
    checks = floor_checks(figures) if arguments.floors_only else checks_of(figures)
    if not arguments.quick and not arguments.floors_only:
        draw_parts(figures["parts"], TABLES / "cascade.png")
    result = Result(_name(arguments), command_line("benchmarks.cascade"), figures, checks, _tables(figures))
    return finish(result, tables=None if arguments.quick or arguments.floors_only else TABLES)


@contextmanager
def opened_job(size: Any, cache: Path, bars: Steps) -> Iterator[Job]:
    """The reference job and its Valkey, which ends with the block."""
    reference = make_reference(size, cache, bars)
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
    with open_floors(job.reference, job.valkey_url, job.valkey_pid, {"naive": 2, "ours": 2}) as floors:
        with bars.step("comparing pages"):
            same = compared_floors(floors, job.users[: lengths.compared])
        samples = take_turns(floor_ways(floors, job.users, lengths.phase_s, both=True), lengths.rounds, bars)
    return {"pages": same, "samples": _plain(samples)}


def _everything(job: Job, lengths: Lengths, settings: dict[str, str], bars: Steps) -> dict[str, Any]:
    with ExitStack() as stack:
        counts = {"naive": CORES, "ours": CORES} if lengths.two_processes else {"naive": 1, "ours": 1}
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="explore-cascade-")))
        with bars.step("starting servers"):
            floors = stack.enter_context(open_floors(job.reference, job.valkey_url, job.valkey_pid, counts))
            cascade = stack.enter_context(five_services(job.reference, job.valkey_url, settings, one_by_one=True))
            sockets = stack.enter_context(five_services(job.reference, job.valkey_url, settings, sockets=True))
            together = stack.enter_context(one_process(job.reference, job.valkey_url, settings))
            monolith = stack.enter_context(monoliths(job.reference, job.valkey_url, CORES))
            client = Client(job.users, directory, job.valkey_pid)
            stack.callback(client.close)
        servers = {CASCADE: cascade, SOCKETS: sockets, TOGETHER: together, MONOLITH: monolith}
        with bars.step("comparing pages"):
            last = job.users[-lengths.compared_servers :]
            same = compared_servers(client, servers, floors, last, job.valkey_url)
            same["floors"] = compared_floors(floors, job.users[: lengths.compared])
        parts = _parts(job, client, lengths, directory, settings, bars)
        ways = floor_ways(floors, job.users, lengths.phase_s, lengths.two_processes)
        for name, server in servers.items():
            ways |= closed_loops(client, name, server, CALLERS, lengths.phase_s)
        samples = take_turns(ways, lengths.rounds, bars)
        ways = _open_ways(client, servers, samples, lengths)
        samples |= take_turns(ways, lengths.rounds, bars)
    return {"pages": same, "samples": _plain(samples), "ready_s": dict(cascade.ready_s), "settings": settings, **parts}


def _open_ways(
    client: Client, servers: Mapping[str, Server], samples: Mapping[str, list[Sample]], lengths: Lengths
) -> dict[str, Way]:
    """Open loops at shares of what each server was seen to serve at most."""
    ways: dict[str, Way] = {}
    for name in (CASCADE, MONOLITH):
        best = max(shown.median(_plain(samples)[closed(name, callers)], "per_s") for callers in CALLERS)
        ways |= open_loops(client, name, servers[name], best, SHARES, lengths.phase_s)
    return ways


def _parts(
    job: Job, client: Client, lengths: Lengths, directory: Path, settings: dict[str, str], bars: Steps
) -> dict[str, dict[str, Any]]:
    """CPU milliseconds of a page by part, with a stopwatch at every seam, and what calls waited for."""
    seconds, parts = 3 * lengths.phase_s, dict[str, dict[str, float]]()
    with bars.step("where the time goes"):
        with open_floors(job.reference, job.valkey_url, job.valkey_pid, {WATCHED: 1}) as watched:
            for name, batch in ((OURS, 1), (BATCHED, BATCH)):
                watched.load(WATCHED, 1, Load(job.users, 1.0, batch))
                sample = watched.load(WATCHED, 1, Load(job.users, seconds, batch))
                parts[name] = _with_rest(sample, sample.stage_ms or {})
        with five_services(job.reference, job.valkey_url, settings, watched=directory) as server:
            warm_up = client.load(server, 1.0, callers=CALLERS[-1])
            sample = client.load(server, seconds, callers=CALLERS[-1])
        seen = {
            file.stem: json.loads(file.read_text("utf-8")) for file in directory.glob("*.json") if file.stem != "users"
        }
    pages = warm_up.requests + sample.requests
    spent = {part: sum(each["cpu_s"].get(part, 0.0) for each in seen.values()) / pages * 1e3 for part in PARTS}
    parts[closed(CASCADE, CALLERS[-1])] = _with_rest(sample, spent)
    waited = {
        what: {"ms": seconds / pages * 1e3, "calls_per_page": each["calls"][what] / pages}
        for each in seen.values()
        for what, seconds in each["waited_s"].items()
    }
    return {"parts": parts, "waited": waited}


def _with_rest(sample: Sample, spent: Mapping[str, float]) -> dict[str, float]:
    """CPU milliseconds per page of every part; what no seam saw is the rest."""
    valkey_ms = sample.valkey_cpu_s / max(sample.requests, 1) * 1e3
    named = {part: spent.get(part, 0.0) for part in PARTS}
    return {**named, VALKEY: valkey_ms, REST: max(sample.cpu_ms - valkey_ms - sum(named.values()), 0.0)}


def _plain(samples: Mapping[str, list[Sample]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [shown.plain(each) for each in taken] for name, taken in samples.items()}


def _tables(figures: dict[str, Any]) -> list[Any]:
    tables = [shown.ways_table(figures["samples"], OURS), shown.stages_table(figures["samples"], [OURS, BATCHED])]
    if "parts" in figures:
        tables += [shown.parts_table(figures["parts"]), shown.waited_table(figures["waited"])]
    return tables


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
    parser.add_argument("--rounds", type=int, default=FULL_LENGTHS.rounds, help="how often all take their turn")
    parser.add_argument("--floors-only", action="store_true", help="no servers: the naive floor and ours")
    parser.add_argument("--profile", type=int, metavar="BATCH", help="profile our floor, so many users at a time")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=lambda text: text.partition("=")[::2],
        help="a setting of the services, such as LIMIT_FLOOR=16, to see what it does; may be repeated",
    )
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / "benchmarks", help="where what is made is kept")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
