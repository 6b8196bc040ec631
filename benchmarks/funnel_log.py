"""What does a logged request cost? Pages of two stacks on one small world, one that logs nothing and one that logs every request.

CPU time of all processes per page, with and without the log; bytes on disk per logged request; pages asked while others are logged.
`python -m benchmarks.funnel_log [--quick] [--home HOME]`
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from benchmarks.homes import running_stack, trained_home
from benchmarks.report import TABLES, Result, at_least, at_most, command_line, finish
from cli import stack as stacks
from cli.commands.feed import ask
from cli.gateway_access import Gateway
from cli.progress import steps
from cli.stack import RunningStack
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest
from training.datasets import load

SHARE = 0.01  # the default of EXPLORE_FUNNEL_LOG_SHARE
MOST_OVERHEAD = 0.05  # of a page's CPU time, at the default share
MOST_BYTES = 100_000  # per logged request of 500 candidates
_POLL_S, _WAIT_S = 0.1, 10.0


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-funnel-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        figures = _measured(workspace, Path(scratch), *((10, 3) if arguments.quick else (30, 4)))
    checks = [
        at_least("logged requests / pages asked one by one", figures["logged"] / figures["pages"], 1.0),
        at_most("CPU of the log at its default share / CPU of a page", figures["overhead_at_share"], MOST_OVERHEAD),
        at_most("bytes per logged request", figures["bytes"], MOST_BYTES),
    ]
    name = "funnel_log_quick" if arguments.quick else "funnel_log"
    result = Result(name, command_line("benchmarks.funnel_log"), figures, checks, [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


@dataclass
class _Stack:
    """A running stack, and what was measured on it."""

    running: RunningStack
    directory: Path
    cpu_ms: list[float]  # of all processes, per page, one figure per repeat
    wall_ms: list[float]  # per page asked while others may be logged

    def cpu_s(self) -> float:
        """User and system time of all processes so far."""
        ticks = 0
        for process in self.running.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def note(self) -> str:
        """What the gateway says about its log."""
        return stacks.describe(self.running.processes[-1], self.running.ports).note

    def logged(self) -> int:
        """Requests that the gateway has logged so far."""
        found = re.search(r"funnel log: (\d+) requests", self.note())
        return int(found[1]) if found else 0

    def page(self, user: str) -> float:
        """Asks for a page; milliseconds until it was there."""
        start = time.perf_counter()
        ask(Gateway(self.running.ports.address("gateway")), GetFeedRequest(user_id=user))
        return (time.perf_counter() - start) * 1e3


def _measured(workspace: Workspace, scratch: Path, pages: int, repeats: int) -> dict[str, Any]:
    users = load(workspace.current_dataset()).users["user_id"].to_list()[: pages * repeats]
    with (
        _started(workspace, scratch / "off", share=0) as off,
        _started(workspace, scratch / "on", share=1) as on,
        steps() as progress,
        progress.step("pages") as report,
    ):
        for stack in (off, on):
            stack.page(users[0])  # the first one opens the channels
        for repeat in range(repeats):
            for stack in (off, on):
                stack.cpu_ms.append(_cpu_of(stack, users[repeat * pages :][:pages], waits=stack is on))
            report(repeat + 1, 2 * repeats)
        logged = on.logged()
        for repeat in range(repeats):
            for stack in (off, on):
                stack.wall_ms += [stack.page(user) for user in users[repeat * pages :][:pages]]
            report(repeats + repeat + 1, 2 * repeats)
        note = on.note()
    size = sum(path.stat().st_size for path in on.directory.iterdir())  # the stack has ended: everything is written
    in_all = int(re.findall(r"funnel log: (\d+) requests", note)[0])
    page_ms, cost_ms = _spread(off.cpu_ms), _spread(np.subtract(on.cpu_ms, off.cpu_ms).tolist())
    return {
        "pages": pages * repeats + 1,
        "logged": logged,
        "page_cpu_ms": page_ms,
        "log_cpu_ms": cost_ms,
        "overhead_at_share": SHARE * cost_ms["median"] / page_ms["median"],
        "bytes": size / in_all,
        "page_wall_ms": {"off": _percentiles(off.wall_ms), "on": _percentiles(on.wall_ms)},
        "logged_meanwhile": (in_all - logged) / (pages * repeats),
        "note": note.split("funnel log: ")[1],
    }


def _cpu_of(stack: _Stack, users: list[str], waits: bool) -> float:
    """CPU milliseconds per page. With `waits`, a page is asked for when the one before is logged, so that all of them are."""
    before = stack.cpu_s()
    for user in users:
        logged = stack.logged()  # both stacks are asked, so that asking costs both about the same
        stack.page(user)
        deadline = time.monotonic() + _WAIT_S
        time.sleep(_POLL_S)
        while stack.logged() == logged and waits and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    return (stack.cpu_s() - before) * 1e3 / len(users)


@contextmanager
def _started(workspace: Workspace, scratch: Path, share: float) -> Iterator[_Stack]:
    settings = {"FUNNEL_LOG_SHARE": str(share)}
    with running_stack(workspace, scratch, funnel_log=scratch / "funnel", settings=settings) as running:
        yield _Stack(running, scratch / "funnel", [], [])


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


def _percentiles(values: list[float]) -> dict[str, float]:
    return {name: float(np.percentile(values, at)) for name, at in (("p50", 50), ("p95", 95), ("p99", 99))}


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title="A logged request beside a page, 500 candidates", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("", justify="right")
    for label, key in (("CPU ms of a page", "page_cpu_ms"), ("CPU ms of logging it", "log_cpu_ms")):
        found = figures[key]
        table.add_row(label, f"{found['median']:.1f} [{found['min']:.1f}, {found['max']:.1f}]")
    table.add_row(f"more CPU per page at a share of {SHARE:g}", f"{figures['overhead_at_share']:.1%}")
    table.add_row("bytes on disk per logged request", f"{figures['bytes']:,.0f}")
    for name, label in (("off", "no log"), ("on", "share 1, pages back to back")):
        wall = figures["page_wall_ms"][name]
        table.add_row(f"page ms, {label}", " / ".join(f"{wall[at]:.0f}" for at in ("p50", "p95", "p99")))
    table.add_row("requests logged meanwhile, the others dropped", f"{figures['logged_meanwhile']:.0%}")
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.funnel_log", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pages")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
