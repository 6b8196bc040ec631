"""What does a stack need to serve so many pages? Costs of a page, measured; what the queues add, simulated; the rest is arithmetic.

Measures CPU per page of each process, calls alone and joined, bytes of every hop, and memory per media. A simulation of the queues
(benchmarks/queueing.py) predicts p50 and p99 at 50 and 80 % of saturation, and locust says how far off it is, in runs that take
turns: medians count. A shared machine may have another speed by then, so lone pages are asked for again around each of these runs,
and say how much slower it is.
`python -m benchmarks.capacity [--quick] [--home HOME]`
`python -m benchmarks.capacity --write-doc` puts the figures of the last full run into docs/capacity.md
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.capacity_doc import tables_of, write_doc
from benchmarks.capacity_memory import measured_memory
from benchmarks.capacity_model import at_pace, by_utilisation, line_of, predicted_ms
from benchmarks.capacity_plan import Assumptions
from benchmarks.capacity_stages import Costs, lone_cpu_ms, measured_costs
from benchmarks.homes import trained_home
from benchmarks.load_stack import Locust, Ran, planned, started, users_file
from benchmarks.queueing import Line
from benchmarks.report import RESULTS, TABLES, Check, Result, at_most, command_line, finish
from cli.progress import Steps, steps
from cli.stack import RunningStack
from cli.workspace import Workspace
from gateway.config import GatewayConfig
from loadtests.traffic import DEFAULT as DEFAULT_TRAFFIC
from training.datasets import load

NAME = "capacity"
SHARES = (0.5, 0.8)  # of saturation, where the simulation is held against locust
UTILISATIONS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
MOST_ERROR = 0.3
DEADLINE_S = float(GatewayConfig.model_fields["deadline_s"].default)


@dataclass(frozen=True)
class Size:
    """How much of everything; lengths of locust's runs in seconds, and how many there are of each share of saturation."""

    pages: int
    recorded: int
    media: int
    simulated: int
    step_s: float
    search_s: float
    run_s: float
    runs: int


FULL = Size(500, 96, 1_000_000, 20_000, 15.0, 300.0, 60.0, 3)
QUICK = Size(40, 16, 200_000, 2_000, 2.0, 8.0, 4.0, 1)


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails. Or writes the document."""
    arguments = _arguments()
    assumed = Assumptions(**{field.name: getattr(arguments, field.name) for field in fields(Assumptions)})
    if arguments.write_doc:
        file = RESULTS / f"{NAME}.json"
        if not file.exists():
            raise SystemExit(f"there is no {file.name} yet: run `python -m benchmarks.capacity` on a quiet machine")
        write_doc(json.loads(file.read_text("utf-8")), assumed)
        return 0
    with tempfile.TemporaryDirectory(prefix="explore-capacity-") as directory:
        workspace = trained_home(arguments.home, Path(directory))
        figures = _measured(workspace, Path(directory), QUICK if arguments.quick else FULL)
    name = f"{NAME}_quick" if arguments.quick else NAME
    result = Result(name, command_line("benchmarks.capacity"), figures, _checks(figures), tables_of(figures, assumed))
    return finish(result, tables=None if arguments.quick else TABLES)


def _measured(workspace: Workspace, scratch: Path, size: Size) -> dict[str, Any]:
    users = load(workspace.current_dataset()).users["user_id"].to_list()
    asking = [users[number % len(users)] for number in range(size.pages)]
    with started(workspace, scratch / "stack") as running, steps() as progress:
        with progress.step("what pages cost"):
            costs = measured_costs(workspace, running, scratch / "recorded", asking, size.recorded)
        with progress.step("memory per media"):
            memory = measured_memory(
                planned(workspace, scratch / "media", running.ports), scratch / "media", size.media
            )
        loads = _loaded(workspace, running, scratch, size, progress, asking)
        with progress.step("simulating"):
            figures = _simulated(costs, loads, size)
    calls = {name: [cost.request_bytes, cost.response_bytes] for name, cost in costs.stages.items()}
    calls["gateway"] = [costs.request_bytes, costs.response_bytes]
    return {**figures, "costs": asdict(costs), "memory": memory, "bytes": calls}


@dataclass(frozen=True)
class AtShare:
    """One of locust's runs at a share of saturation, and what a lone page cost around it, in ms of CPU."""

    share: float
    ran: Ran
    lone_cpu_ms: float


@dataclass(frozen=True)
class Loaded:
    """Saturation in pages a second, and the runs below it, in their order."""

    saturation: int
    runs: list[AtShare]

    def at(self, share: float) -> list[AtShare]:
        """The runs of that share."""
        return [run for run in self.runs if run.share == share]


def _loaded(
    workspace: Workspace, running: RunningStack, scratch: Path, size: Size, progress: Steps, asking: Sequence[str]
) -> Loaded:
    """Only pages are asked for, since only they are simulated."""
    traffic = scratch / "pages.yaml"
    table = yaml.safe_load(DEFAULT_TRAFFIC.read_text("utf-8"))
    traffic.write_text(yaml.safe_dump({**table, "requests": {"open": 0.7, "page_on": 0.3}}), "utf-8")
    locust = Locust(running, users_file(workspace, scratch), scratch, DEADLINE_S)
    pages = ("--traffic", str(traffic))
    with progress.step("looking for saturation"):
        found = locust.run(size.search_s, *pages, "--shape", "saturation", "--step", str(size.step_s), "--rate", "10")
    saturation = int(found.verdict["saturation"])
    if not saturation:
        raise RuntimeError(f"the stack holds no rate: {found.verdict}")
    runs = []
    for number in range(size.runs):
        for share in SHARES:
            rate = max(int(share * saturation), 1)
            with progress.step(f"{rate} pages/s, run {number + 1} of {size.runs}"):
                before = lone_cpu_ms(running, asking[: size.recorded])
                ran = locust.run(size.run_s, *pages, "--rate", str(rate))
                runs.append(AtShare(share, ran, (before + lone_cpu_ms(running, asking[: size.recorded])) / 2))
    return Loaded(saturation, runs)


def _simulated(costs: Costs, loads: Loaded, size: Size) -> dict[str, Any]:
    low, high = ([run.ran for run in loads.at(share)] for share in SHARES)
    client_ms = _client_ms(low, high)
    line = line_of(costs, client_ms)
    lone_ms = sum(stage.cpu_ms for stage in costs.stages.values())
    pages = sum(ran.verdict["figures"]["pages_full"] for ran in high)
    return {
        "saturation": loads.saturation,
        "client_ms": client_ms,
        "cpu_ms_at_load": {name: sum(ran.cpu_s[name] for ran in high) * 1e3 / pages for name in high[0].cpu_s},
        "load": [_held_against(line, loads.at(share), lone_ms, size) for share in SHARES],
        "by_utilisation": [
            {"utilisation": share, **found}
            for share, found in by_utilisation(costs, UTILISATIONS, size.simulated).items()
        ],
    }


def _held_against(line: Line, runs: Sequence[AtShare], lone_ms: float, size: Size) -> dict[str, Any]:
    """Medians over the runs of one share. Each is simulated at its own rate and speed of the machine."""
    cores = len(os.sched_getaffinity(0))
    found = []
    for run in runs:
        figures, pace = run.ran.verdict["figures"], run.lone_cpu_ms / lone_ms
        rate = figures["requests"] / run.ran.seconds
        simulated = predicted_ms(at_pace(line, pace), rate, size.simulated, cores)
        measured = {"p50": figures["page_p50_ms"], "p99": figures["page_p99_ms"]}
        found.append({"rate": rate, "pace": pace, "measured": measured, "simulated": simulated})
    row = {"rate": median(run["rate"] for run in found), "pace": median(run["pace"] for run in found)}
    middle = {
        kind: {at: median(run[kind][at] for run in found) for at in ("p50", "p99")}
        for kind in ("measured", "simulated")
    }
    error = {at: middle["simulated"][at] / middle["measured"][at] - 1 for at in ("p50", "p99")}
    return {"share": runs[0].share, **row, **middle, "error": error, "runs": found}


def _client_ms(low: Sequence[Ran], high: Sequence[Ran]) -> float:
    """CPU of locust per request. As many runs of one length differ in requests, but not in what their starts take."""
    few, many = (sum(ran.verdict["figures"]["requests"] for ran in runs) for runs in (low, high))
    took_s = sum(ran.client_cpu_s for ran in high) - sum(ran.client_cpu_s for ran in low)
    return max(took_s / (many - few), 0.0) * 1e3 if many > few else 0.0


def _checks(figures: dict[str, Any]) -> list[Check]:
    return [
        at_most(f"error of the simulated {at} at {row['share']:.0%} of saturation", abs(row["error"][at]), MOST_ERROR)
        for row in figures["load"]
        for at in ("p50", "p99")
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few pages, seconds of load")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    parser.add_argument(
        "--write-doc", action="store_true", help="measures nothing: puts the last results into the document"
    )
    for field in fields(Assumptions):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(
            name, type=float, default=field.default, help=f"an assumption; {field.default:g} if left out"
        )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
