"""What do users see when processes die? A closed loop of pages while every process of a stack is killed and started again in turn.

Two gateways (a client needs another one to turn to), one of everything else, so that a loss is a loss. SIGKILL, an outage of some
seconds, a restart; the client has a deadline and gRPC's own retry of calls that nobody answered (docs/faults.md), no other help.
`python -m benchmarks.faults [--quick] [--home HOME]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.faults_fleet import GATEWAYS, Fleet, started
from benchmarks.faults_pages import Outage, Page, figures_of, pages_until
from benchmarks.homes import trained_home
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import Report, steps
from training.datasets import load

DEADLINE_S = 1.0  # of the client: the gateway's own default
MOST_RECOVERY_S = 2.0  # from SERVING to the last degraded page
VICTIMS = ("retrieval_svc", "prerank_svc", "rank_svc", "rerank_svc", GATEWAYS[0], "valkey")
CLIENTS = 2  # each asks for the next page when it has the last one


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    period_s, outage_s = (6.0, 1.5) if arguments.quick else (10.0, 3.0)
    with tempfile.TemporaryDirectory(prefix="explore-faults-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        users = load(workspace.current_dataset()).users["user_id"].to_list()
        with started(workspace, Path(scratch)) as fleet, steps() as progress, progress.step("faults") as report:
            pages, outages = asyncio.run(_run(fleet, users, period_s, outage_s, report))
    figures = figures_of(pages, outages) | {"deadline_s": DEADLINE_S, "clients": CLIENTS}
    name = "faults_quick" if arguments.quick else "faults"
    result = Result(name, command_line("benchmarks.faults"), figures, _checks(figures), [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


async def _run(
    fleet: Fleet, users: Sequence[str], period_s: float, outage_s: float, report: Report
) -> tuple[list[Page], list[Outage]]:
    """Asks without a break while one process after the other dies; one period each, and a whole one to begin with."""
    over = asyncio.Event()
    asking = asyncio.gather(
        *(pages_until(over, fleet.gateway_target, users[client::CLIENTS], DEADLINE_S) for client in range(CLIENTS))
    )
    outages = []
    try:
        await asyncio.sleep(period_s / 2)  # the load itself is what this waits for
        for done, victim in enumerate(VICTIMS, start=1):
            begun = time.monotonic()
            outages.append(await _kill_and_restart(fleet, victim, outage_s))
            await asyncio.sleep(max(begun + period_s - time.monotonic(), 0.0))
            report(done, len(VICTIMS))
    finally:
        over.set()
    return [page for pages in await asking for page in pages], outages


async def _kill_and_restart(fleet: Fleet, victim: str, outage_s: float) -> Outage:
    os.kill(fleet.processes[victim].pid, signal.SIGKILL)
    killed_s = time.monotonic()
    await asyncio.to_thread(fleet.bury, victim)
    await asyncio.sleep(outage_s)
    restarted_s = time.monotonic()
    await asyncio.to_thread(fleet.restart, victim)
    return Outage(victim, killed_s, restarted_s, time.monotonic())


def _checks(figures: dict[str, Any]) -> list[Check]:
    return [
        at_least("pages", figures["pages"], 100),
        at_most("failed GetFeed", figures["failed"], 0),
        at_most("pages that were not full", figures["short"], 0),
        at_most("pages of an outage that did not say so", figures["unflagged"], 0),
        at_most("p99 of a page, seconds", figures["p99_s"], DEADLINE_S),
        at_most("longest recovery, seconds from SERVING", figures["recovery_s"], MOST_RECOVERY_S),
    ]


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title="What the users of a stack see while its processes die", box=box.SIMPLE_HEAD)
    for column in ("killed", "pages", "failed", "not full", "degraded", "p50 ms", "p99 ms", "out s", "recovery s"):
        table.add_column(column, justify="left" if column == "killed" else "right")
    for row in figures["periods"]:
        table.add_row(
            row["victim"],
            *(str(row[name]) for name in ("pages", "failed", "short", "degraded")),
            *(f"{row[name] * 1e3:.0f}" for name in ("p50_s", "p99_s")),
            *(f"{row[name]:.2f}" for name in ("out_s", "recovery_s")),
        )
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short outages, within 60 seconds with --home")
    parser.add_argument("--home", type=Path, help="a home with a trained bundle; without it a tiny world is trained")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
