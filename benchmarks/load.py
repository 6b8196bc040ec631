"""How many visitors can a stack serve? Finds where it saturates, then runs at 80 % of that: no failure, p99 in the SLO.

A real stack and locust (loadtests/) on one machine, which share its cores; what locust takes is told apart. Saturation is the rate
that holds the SLO for a minute. Visitors wait longer for an answer than a page should take (loadtests/retries.py). `--soak`: then,
for a quarter of an hour more, at 60 %, the memory of every service must stay where it is.
`python -m benchmarks.load [--soak] [--quick] [--home HOME]`
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.homes import trained_home
from benchmarks.load_stack import Locust, Ran, memory_mb, started, users_file
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import steps
from cli.stack import VALKEY, RunningStack
from cli.workspace import Workspace
from gateway.config import GatewayConfig
from loadtests.retries import PATIENCE_S

SHARE = 0.8  # of saturation
# A soak asks about memory. A shared machine slows down for minutes: what was saturation in a fast moment is overload then.
SOAK_SHARE = 0.6
P99_S = float(GatewayConfig.model_fields["deadline_s"].default)
MOST_GROWTH = 0.02
_WARM_UP = 0.3  # of a soak
# Of what follows: memory at its begin and at its end. Three minutes each, so that either holds a whole file of the funnel log: the
# gateway keeps 50 requests until they fill one, which takes about 6 MB and as long at the rate of a soak.
_EDGE = 0.3
_SAMPLE_S = 0.5


@dataclass(frozen=True)
class Lengths:
    """Seconds; `first_rate` in requests a second."""

    step_s: float
    search_s: float
    run_s: float
    soak_s: float
    first_rate: int


FULL, QUICK = Lengths(20.0, 600.0, 300.0, 900.0, 16), Lengths(3.0, 14.0, 10.0, 12.0, 16)


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    lengths = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory(prefix="explore-load-") as directory:
        scratch = Path(directory)
        workspace = trained_home(arguments.home, scratch)
        figures = _measured(workspace, scratch, lengths, arguments.soak)
    name = "load_quick" if arguments.quick else "load"
    result = Result(name, command_line("benchmarks.load"), figures, _checks(figures), _tables(figures))
    return finish(result, tables=None if arguments.quick else TABLES)


def _measured(workspace: Workspace, scratch: Path, lengths: Lengths, soak: bool) -> dict[str, Any]:
    users = users_file(workspace, scratch)
    with started(workspace, scratch / "stack") as running, steps() as progress:
        locust = Locust(running, users, scratch, P99_S)
        search = ("--shape", "saturation", "--step", str(lengths.step_s), "--rate", str(lengths.first_rate))
        with progress.step("looking for saturation"):
            found = locust.run(lengths.search_s, *search)
        saturation = found.verdict["saturation"]
        if not saturation:
            raise RuntimeError(f"the stack holds no rate: {found.verdict}")
        rate = max(int(SHARE * saturation), 1)
        with progress.step(f"{rate} requests/s"):
            ran = locust.run(lengths.run_s, "--rate", str(rate))
        figures = {
            "saturation": saturation,
            "broke": found.verdict["broke"],
            "rate": rate,
            "p99_s": P99_S,
            "patience_s": PATIENCE_S,
            "confirmed": found.verdict["confirmed"],
            "search": found.verdict,
            "run": ran.as_json(),
        }
        if soak:
            soak_rate = max(int(SOAK_SHARE * saturation), 1)
            with progress.step(f"{soak_rate} requests/s, watching memory"):
                figures["soak"] = {"rate": soak_rate, **_soaked(running, locust, soak_rate, lengths.soak_s)}
    return figures


def _soaked(running: RunningStack, locust: Locust, rate: int, seconds: float) -> dict[str, Any]:
    samples: dict[str, list[float]] = defaultdict(list)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_S):
            for name, mb in memory_mb(running).items():
                samples[name].append(mb)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ran: Ran = locust.run(seconds, "--shape", "soak", "--rate", str(rate))
    finally:
        over.set()
        watcher.join()
    return {**ran.as_json(), "memory": {name: growth(found) for name, found in samples.items()}}


def growth(samples: list[float]) -> dict[str, float]:
    """Memory once warm and at the end, and by how much it grew. Medians, as one sample may catch a request's buffers."""
    warm = samples[int(_WARM_UP * len(samples)) :]
    edge = max(int(_EDGE * len(warm)), 1)
    first_mb, last_mb = statistics.median(warm[:edge]), statistics.median(warm[-edge:])
    return {"warm_mb": first_mb, "end_mb": last_mb, "growth": last_mb / first_mb - 1}


def _checks(figures: dict[str, Any]) -> list[Check]:
    ran, found = figures["run"], figures["run"]["verdict"]["figures"]
    due = figures["rate"] * ran["seconds"]
    checks = [
        at_most("failed requests at 80 % of saturation", found["failed"], 0),
        at_most("p99 ms of pages", found["page_p99_ms"], P99_S * 1e3),
        at_most("degraded pages / pages", found["pages_degraded"] / found["pages_asked"], 0.01),
        at_least("requests / requests due", found["requests"] / due, 1 - 4 / due**0.5),  # as many as chance brings
    ]
    if "soak" in figures:
        grown = {name: found["growth"] for name, found in figures["soak"]["memory"].items() if name != VALKEY}
        most = max(grown, key=grown.__getitem__)
        checks.append(at_most("failed requests of the soak", figures["soak"]["verdict"]["figures"]["failed"], 0))
        checks.append(at_most(f"growth of memory, the most of five services ({most})", grown[most], MOST_GROWTH))
    return checks


def _tables(figures: dict[str, Any]) -> list[Table]:
    about = Table(title="What a stack on this machine serves", box=box.SIMPLE_HEAD)
    about.add_column("")
    for column in ("calls/s", "pages", "degr.", "failed", "ms p50/p99", "cores", "client", "pages/core/s"):
        about.add_column(column, justify="right")
    about.add_row(
        f"saturation, {'held at length' if figures['confirmed'] else 'for one step'}",
        *_cells(figures["search"], figures["saturation"]),
    )
    for name in ("run", "soak"):
        if name in figures:
            ran = figures[name]
            taken = (sum(ran["cores"].values()), ran["client_cores"], ran["pages_per_core_s"])
            cells = _cells(ran["verdict"], ran.get("rate", figures["rate"]))
            about.add_row(
                "80 % of it" if name == "run" else "soak, 60 % of it", *cells, *(f"{value:.2f}" for value in taken)
            )
    return [about, *_failures(figures), _by_process(figures)]


def _cells(verdict: dict[str, Any], rate: int) -> list[str]:
    found = verdict["figures"]
    counts = (found["pages_asked"], found["pages_degraded"], found["failed"])
    return [str(rate), *(f"{count:,}" for count in counts), f"{found['page_p50_ms']:.0f} / {found['page_p99_ms']:.0f}"]


def _failures(figures: dict[str, Any]) -> list[Table]:
    """What failed at the fixed rates, if anything did. While saturation is looked for, failing is how it is found."""
    table = Table(title="What failed", box=box.SIMPLE_HEAD)
    for column in ("at", "request and reason", "times"):
        table.add_column(column, justify="right" if column == "times" else "left")
    for name, at in (("run", "80 %"), ("soak", "soak")):
        for reason, times in figures.get(name, {}).get("verdict", {}).get("failures", {}).items():
            table.add_row(at, reason, str(times))
    return [table] if table.rows else []


def _by_process(figures: dict[str, Any]) -> Table:
    table = Table(title="By process, at 80 % of saturation", box=box.SIMPLE_HEAD)
    for column in ("process", "cores", "MB, warm", "MB at the end", "growth"):
        table.add_column(column, justify="left" if column == "process" else "right")
    memory = figures.get("soak", {}).get("memory", {})
    for name, cores in figures["run"]["cores"].items():
        grown = memory.get(name)
        cells = [f"{grown['warm_mb']:.0f}", f"{grown['end_mb']:.0f}", f"{grown['growth']:+.1%}"] if grown else [""] * 3
        table.add_row(name, f"{cores:.3f}", *cells)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--soak", action="store_true", help="goes on for 15 minutes and watches the memory")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
