"""Five times more calls than a stack can serve: does it go on serving what it can, in time, and tell the others at once?

A real stack on one machine. Its capacity is what callers get who wait for each answer; then calls arrive at five times that rate,
three in ten for a later page, from a process of its own. Closed and open load take turns, so that both see the same machine.
The client shares the cores with the stack: what it costs to send, and to refuse, four calls for each one served lowers goodput.
`python -m benchmarks.overload [--quick] [--home HOME]`
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.homes import running_stack, trained_home
from benchmarks.line_worker import LineWorker
from benchmarks.overload_client import Phase
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import Steps, steps
from cli.workspace import Workspace
from training.datasets import load

OVERLOAD = 5.0  # times the capacity
DEADLINE_S = 1.0
CALLERS = (4, 8, 12)
_NORMAL = 2.0  # times the p90 of a lone caller: a page that takes longer is not normal
_RECOVERY_S = 4.0
_NEVER_MS = 1e6  # stands for the latency of pages that never came
_GRACE_S = 30.0  # a phase that takes so much longer than it should has hung
GATEWAY_CALL, GATEWAY_DOOR = "/explore.v1.ExploreService/GetFeed", "explore.v1.ExploreService"


@dataclass(frozen=True)
class Lengths:
    """Seconds of each kind of phase, and how often closed and open load take turns."""

    closed_s: float
    open_s: float
    rounds: int


FULL, QUICK = Lengths(8.0, 30.0, 3), Lengths(3.0, 8.0, 2)


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-overload-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        figures = _measured(workspace, Path(scratch), QUICK if arguments.quick else FULL)
    name = "overload_quick" if arguments.quick else "overload"
    result = Result(name, command_line("benchmarks.overload"), figures, checks_of(figures), _tables(figures))
    return finish(result, tables=None if arguments.quick else TABLES)


def checks_of(figures: Mapping[str, Any]) -> list[Check]:
    """What they must keep."""
    return [
        at_least(
            "goodput at 5 x capacity / goodput at capacity, per core that the client leaves",
            figures["goodput_ratio_per_core_left"]["median"],
            0.9,
        ),
        at_most("p99 ms of what was let in", figures["page_p99_ms"]["median"], DEADLINE_S * 1e3),
        at_most("p99 ms of a refusal, at the server", figures["server"]["shed_p99_ms"], 5.0),
        at_most("calls that got neither page nor refusal in time / all", figures["failed_share"], 0.001),
        at_most("degraded pages / pages, under overload", figures["degraded_share"]["median"], 0.05),
        at_most("seconds until pages are normal again", figures["recovery_s"]["max"], 2.0),
    ]


class Client:
    """The process that sends the load."""

    def __init__(self, address: str, users: Path, progress: Steps) -> None:
        arguments = [address, str(users), str(DEADLINE_S)]
        self._worker = LineWorker("the client", "benchmarks.overload_client", arguments, _GRACE_S)
        self._progress = progress

    def run(self, phase: Phase) -> dict[str, Any]:
        """What the client saw. A phase that does not end is ended."""
        with self._progress.step(phase.name):
            self._worker.tell(asdict(phase))
            return dict(self._worker.answer(phase.seconds))

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()


def _measured(workspace: Workspace, scratch: Path, lengths: Lengths) -> dict[str, Any]:
    users = scratch / "users.json"
    users.write_text(json.dumps(load(workspace.current_dataset()).users["user_id"].to_list()), "utf-8")
    logs = scratch / "stack" / "run" / "logs"
    with running_stack(workspace, scratch / "stack") as running, steps() as progress:
        client = Client(running.ports.address("gateway"), users, progress)
        try:
            phases = _phases(client, lengths)
        finally:
            client.close()
    return {**_figures(phases), "server": _server_figures(logs / "gateway.log")}


def _phases(client: Client, lengths: Lengths) -> dict[str, Any]:
    client.run(Phase("warm-up", lengths.closed_s, callers=CALLERS[0]))
    lone = client.run(Phase("a lone caller", lengths.closed_s, callers=1))
    by_callers = {n: client.run(Phase(f"{n} callers", lengths.closed_s, callers=n)) for n in CALLERS}
    # Callers that are refused ask again at once, which is no longer what they get who wait for each answer.
    patient = [n for n in CALLERS if not by_callers[n]["shed"]] or [CALLERS[0]]
    best = max(patient, key=lambda n: by_callers[n]["goodput"])
    closed, opened, after = [by_callers[best]], list[dict[str, Any]](), list[dict[str, Any]]()
    for turn in range(lengths.rounds):
        rate = OVERLOAD * closed[-1]["goodput"]
        opened.append(client.run(Phase(f"{rate:.0f} calls a second ({turn + 1})", lengths.open_s, rate=rate)))
        normal_ms = _NORMAL * lone["page_ms"]["p90"]
        after.append(client.run(Phase(f"after it ({turn + 1})", _RECOVERY_S, callers=1, normal_ms=normal_ms)))
        closed.append(client.run(Phase(f"{best} callers ({turn + 1})", lengths.closed_s, callers=best)))
    return {"lone": lone, "by_callers": by_callers, "best": best, "closed": closed, "open": opened, "after": after}


def _figures(phases: dict[str, Any]) -> dict[str, Any]:
    closed, opened = phases["closed"], phases["open"]
    around = [statistics.mean(c["goodput"] for c in closed[turn : turn + 2]) for turn in range(len(opened))]
    offered = sum(phase["offered"] for phase in opened)
    around_left = [statistics.mean(_per_core(c) for c in closed[turn : turn + 2]) for turn in range(len(opened))]
    return {
        "callers_at_capacity": phases["best"],
        "capacity": _spread([phase["goodput"] for phase in closed]),
        "goodput_ratio": _spread([phase["goodput"] / peak for phase, peak in zip(opened, around, strict=True)]),
        "goodput_ratio_per_core_left": _spread(
            [_per_core(phase) / peak for phase, peak in zip(opened, around_left, strict=True)]
        ),
        "undegraded_ratio": _spread([phase["undegraded"] / peak for phase, peak in zip(opened, around, strict=True)]),
        "page_p99_ms": _spread([phase["page_ms"].get("p99", _NEVER_MS) for phase in opened]),
        "failed_share": sum(sum(phase["failed"].values()) for phase in opened) / offered,
        "degraded_share": _spread([_degraded_share(phase) for phase in opened]),
        "recovery_s": _spread([phase["normal_after_s"] for phase in phases["after"]]),
        "phases": phases,
    }


def _per_core(phase: dict[str, Any]) -> float:
    """Good pages a second and core that the client left to the servers: calls that come from elsewhere cost no core here."""
    return float(phase["goodput"]) / (len(os.sched_getaffinity(0)) - phase["client_cores"])


def _degraded_share(phase: dict[str, Any]) -> float:
    return 1 - phase["undegraded"] / phase["goodput"] if phase["goodput"] else 1.0


def _server_figures(log: Path) -> dict[str, Any]:
    """What the gateway measured itself, in the last words that it logged. Its p99 is the upper bound of a histogram's bucket."""
    words = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    lines = {tuple(line["labels"].values()): line for line in words[-1]["telemetry"]}
    shed, decided = lines[GATEWAY_CALL, "RESOURCE_EXHAUSTED"], lines[GATEWAY_DOOR, "overloaded"]
    return {
        "shed": shed["count"],
        "shed_mean_ms": shed["mean_s"] * 1e3,
        "shed_p99_ms": shed["p99_s"] * 1e3,
        "decision_mean_ms": decided["mean_s"] * 1e3,
        "decision_p99_ms": decided["p99_s"] * 1e3,
        "queued_mean_ms": lines[GATEWAY_DOOR, "ok"]["mean_s"] * 1e3,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _tables(figures: dict[str, Any]) -> list[Table]:
    phases = figures["phases"]
    table = Table(title="What callers saw", box=box.SIMPLE_HEAD)
    columns = ("load", "calls", "pages/s", "degraded", "shed", "failed", "page ms p50/p99", "shed ms p50/p99")
    for column in columns:
        table.add_column(column, justify="left" if column == "load" else "right")
    rows = [
        ("a lone caller", phases["lone"]),
        *((f"{n} callers", phase) for n, phase in phases["by_callers"].items()),
        *((f"{OVERLOAD:g} x capacity", phase) for phase in phases["open"]),
        *(("after it, a lone caller", phase) for phase in phases["after"]),
        *((f"{phases['best']} callers", phase) for phase in phases["closed"][1:]),
    ]
    for label, phase in rows:
        table.add_row(label, *_cells(phase))
    server = figures["server"]
    inside = Table(title="What it cost, and what the gateway measured", box=box.SIMPLE_HEAD)
    inside.add_column("")
    inside.add_column("", justify="right")
    first, later = (
        statistics.median(p["let_in"][kind] for p in phases["open"]) for kind in ("first pages", "later pages")
    )
    client = statistics.median(phase["client_cores"] for phase in phases["open"])
    inside.add_row("cores that the client took under overload", f"{client:.2f}")
    inside.add_row("goodput under overload / at capacity, as it is", f"{figures['goodput_ratio']['median']:.2f}")
    inside.add_row("refusals", f"{server['shed']:,}")
    inside.add_row("ms to refuse, mean / p99", f"{server['shed_mean_ms']:.2f} / {server['shed_p99_ms']:.2f}")
    inside.add_row("ms to decide so, mean / p99", f"{server['decision_mean_ms']:.3f} / {server['decision_p99_ms']:.2f}")
    inside.add_row("ms in the queue, mean of what was let in", f"{server['queued_mean_ms']:.0f}")
    inside.add_row("let in under overload: first pages / later pages", f"{first:.0%} / {later:.0%}")
    return [table, inside]


def _cells(phase: dict[str, Any]) -> list[str]:
    def ms(name: str) -> str:
        return f"{phase[name]['p50']:.0f} / {phase[name]['p99']:.0f}" if phase[name] else ""

    counts = [str(phase["degraded"]), str(phase["shed"]), str(sum(phase["failed"].values()))]
    return [str(phase["offered"]), f"{phase['goodput']:.1f}", *counts, ms("page_ms"), ms("shed_ms")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter, twice instead of three times")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
