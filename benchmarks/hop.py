"""What an empty hop costs on both sides: a unary call of our services, a bare one, and a pair of messages on a stream.

A bare pair is the least that a hop over a long-lived stream can cost. One that could take the place of a call needs more: answers
find their callers by an id, a caller gives up at its deadline, and a request is answered in a task of its own, so that one can be
cancelled without the others. Traces, statuses and admission would come on top, as they do for calls. All of it with gRPC as our
services run it and as it comes. Caller and server are two processes on loopback with uvloop; all ways take turns in one run; CPU
time is that of both processes, as wall time depends far more on other work. `python -m benchmarks.hop [--quick]`
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.hop_ways import BARE, PAIR, STREAM, WAYS
from benchmarks.line_worker import LineWorker
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import steps
from cli.stack import GRPC_ENVIRONMENT

HOPS = 4  # of a page
PAGE_CPU_MS = 21.2  # of all processes, for a lone caller, when the hop was recorded; benchmarks.cascade has today's
MOST_SAVED = 0.05  # of a page; more would be a reason to build streams (docs/decisions/0028-unary-calls.md)
MOST_OF_EVENT_ENGINE = 0.95  # of a call's CPU with gRPC's event engine; more, and services may run it again
AS_WE_RUN, AS_IT_COMES = "as services run", "as gRPC comes"
_ENGINES = {AS_WE_RUN: GRPC_ENVIRONMENT, AS_IT_COMES: dict.fromkeys(GRPC_ENVIRONMENT, "")}
_GRACE_S = 60.0  # a turn takes seconds

Found = Mapping[str, Mapping[str, Sequence[float]]]  # microseconds of each turn, by how gRPC runs and by way


@dataclass(frozen=True)
class Lengths:
    """Hops in one turn of one way, and turns."""

    hops: int
    turns: int


FULL, QUICK = Lengths(2_000, 9), Lengths(600, 3)


def measure(lengths: Lengths, report: Callable[[int, int], None]) -> Found:
    """Microseconds of CPU per hop on both sides together, one figure per turn."""
    found: dict[str, dict[str, list[float]]] = {engine: {way: [] for way in WAYS} for engine in _ENGINES}
    with ExitStack() as stack:
        workers = dict[str, LineWorker]()
        for engine, environment in _ENGINES.items():
            workers[engine] = LineWorker(f"the caller {engine}", "benchmarks.hop_ways", [], _GRACE_S, environment)
            stack.callback(workers[engine].close)
            _turn(workers[engine], lengths.hops // 3, backwards=False)  # opens connections and warms up
        for turn in range(lengths.turns):
            for engine in list(workers) if turn % 2 else reversed(workers):
                for way, us in _turn(workers[engine], lengths.hops, backwards=turn % 2 == 0).items():
                    found[engine][way].append(us)
            report(turn + 1, lengths.turns)
    return found


def _turn(worker: LineWorker, hops: int, backwards: bool) -> dict[str, float]:
    worker.tell({"hops": hops, "backwards": backwards})
    return dict(worker.answer())


def figures_of(found: Found) -> dict[str, Any]:
    """Medians with their spread, and what streams could save at most of a page."""
    cpu_us = {
        engine: {
            way: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            for way, values in ways.items()
        }
        for engine, ways in found.items()
    }
    ours = cpu_us[AS_WE_RUN]
    saved_us = {way: ours[BARE]["median"] - ours[way]["median"] for way in (STREAM, PAIR)}
    return {
        "cpu_us": cpu_us,
        "hops": HOPS,
        "page_cpu_ms": PAGE_CPU_MS,
        "saved_us": saved_us,
        "saved_of_page": {way: HOPS * us / 1e3 / PAGE_CPU_MS for way, us in saved_us.items()},
    }


def checks_of(figures: Mapping[str, Any]) -> list[Check]:
    """What decision 28 stands on, and how services run gRPC."""
    calls = {engine: ways[BARE]["median"] for engine, ways in figures["cpu_us"].items()}
    return [
        at_least("CPU of a bare unary call, us (nothing is free)", calls[AS_WE_RUN], 1),
        at_most(
            "what a stream with ids, deadlines and tasks saves of a page (above: see decision 28)",
            figures["saved_of_page"][STREAM],
            MOST_SAVED,
        ),
        at_most(
            f"CPU of a bare unary call, {AS_WE_RUN} / {AS_IT_COMES} (above: see cli.stack.GRPC_ENVIRONMENT)",
            calls[AS_WE_RUN] / max(calls[AS_IT_COMES], 1e-9),
            MOST_OF_EVENT_ENGINE,
        ),
    ]


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table(title="CPU of an empty hop, caller and server together", box=box.SIMPLE_HEAD)
    for column in ("way", "gRPC", "us", "min", "max"):
        table.add_column(column, justify="left" if column in ("way", "gRPC") else "right")
    for way in WAYS:
        for engine, ways in figures["cpu_us"].items():
            table.add_row(way, engine, *(f"{ways[way][column]:.0f}" for column in ("median", "min", "max")))
    return table


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hop", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer hops: seconds instead of a minute")
    arguments = parser.parse_args()
    with steps() as progress, progress.step("turns") as report:
        found = measure(QUICK if arguments.quick else FULL, report)
    figures = figures_of(found)
    name = "hop_quick" if arguments.quick else "hop"
    result = Result(name, command_line("benchmarks.hop"), figures, checks_of(figures), [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


if __name__ == "__main__":
    raise SystemExit(main())
