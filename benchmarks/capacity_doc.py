"""Tables of the capacity guide, for the terminal and for docs/capacity.md, from the figures of a run and assumptions of today."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.capacity_plan import Assumptions, Plan, bytes_per_page, plan, predictions_per_page, services_of
from benchmarks.marked_text import write_part
from cli.stack import SERVICES
from gateway.config import Funnel

DOCUMENT = Path(__file__).parents[1] / "docs" / "capacity.md"
MARK = "figures"
_MIB = 2**20 / 1e6
_STEP_MIB = 64  # memory is rounded up to it


class Rows:
    """One table, in words."""

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.title, self.columns, self.rows = title, columns, rows

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title, box=box.SIMPLE_HEAD)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a document."""
        lines = [self.columns, ["---"] + ["---:"] * (len(self.columns) - 1), *self.rows]
        return "\n".join([f"### {self.title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def tables_of(figures: Mapping[str, Any], assumed: Assumptions) -> list[Table]:
    """For a terminal."""
    return [rows.rich() for rows in _all(figures, assumed)]


def write_doc(result: Mapping[str, Any], assumed: Assumptions, document: Path = DOCUMENT) -> None:
    """Replaces what stands between the marks of the document. Raises ValueError if they are not there."""
    machine = result["machine"]
    about = f"By `{result['command']}`, commit {result['commit']}, on {machine['processor']}, {machine['cores']} cores."
    tables = [rows.markdown() for rows in _all(result["figures"], assumed)]
    write_part(document, MARK, "\n".join([about, "", *tables]))


def planned_for(figures: Mapping[str, Any], assumed: Assumptions) -> Plan:
    """What the assumed target takes, by the figures."""
    services = services_of(figures["cpu_ms_at_load"], figures["memory"], SERVICES)
    return plan(services, bytes_per_page(figures["bytes"]), assumed, Funnel())


def _all(figures: Mapping[str, Any], assumed: Assumptions) -> list[Rows]:
    target = planned_for(figures, assumed)
    return [
        _stages(figures),
        _joined(figures),
        _memory(figures),
        _simulation(figures),
        _utilisation(figures),
        _target(target, assumed),
        _totals(target, assumed),
        _kubernetes(target, assumed),
    ]


def _stages(figures: Mapping[str, Any]) -> Rows:
    stages, at_load = figures["costs"]["stages"], figures["cpu_ms_at_load"]
    predictions = predictions_per_page(Funnel())
    rows = []
    for name in (*SERVICES, "valkey"):
        sent, received = figures["bytes"][name]
        rate = 1e3 / at_load[name] if at_load[name] > 0 else math.inf
        scored = f"{rate * predictions[name]:,.0f}" if name in predictions else ""
        size = f"{(sent + received) / 1e3:.1f}" if sent else ""
        rows.append([name, f"{stages[name]['cpu_ms']:.1f}", f"{at_load[name]:.1f}", f"{rate:.0f}", scored, size])
    columns = (
        "process",
        "CPU ms, alone",
        "CPU ms, at 80 %",
        "pages/core/s",
        "predictions/core/s",
        "kB, call and answer",
    )
    return Rows("A page, by process", columns, rows)


def _joined(figures: Mapping[str, Any]) -> Rows:
    stages = {name: cost["batch_cpu_ms"] for name, cost in figures["costs"]["stages"].items() if cost["batch_cpu_ms"]}
    sizes = list(next(iter(stages.values())))
    rows = [[name, *(f"{costs[size]:.1f}" for size in sizes)] for name, costs in stages.items()]
    return Rows("CPU ms of a request, by how many share a call", ("stage", *map(str, sizes)), rows)


def _memory(figures: Mapping[str, Any]) -> Rows:
    rows = [
        [name, f"{figures['memory'][name]['fixed_mb']:.0f}", f"{figures['memory'][name]['mb_per_million']:.0f}"]
        for name in SERVICES
    ]
    return Rows("Memory", ("service", "MB whatever there is", "MB per million media"), rows)


def _simulation(figures: Mapping[str, Any]) -> Rows:
    rows = []
    for row in figures["load"]:
        for at in ("p50", "p99"):
            numbers = (f"{row['measured'][at]:.0f}", f"{row['simulated'][at]:.0f}", f"{row['error'][at]:+.0%}")
            load = (f"{row['share']:.0%} of saturation", f"{row['rate']:.1f}", f"{row['pace']:.2f}")
            rows.append([*load, at, *numbers])
    columns = ("load", "pages/s", "a lone page's CPU, to before", "", "ms, locust", "ms, simulated", "error")
    return Rows("The simulation, held against locust on one machine", columns, rows)


def _utilisation(figures: Mapping[str, Any]) -> Rows:
    rows = [
        [f"{row['utilisation']:.0%}", f"{row['p50']:.0f}", f"{row['p99']:.0f}"] for row in figures["by_utilisation"]
    ]
    return Rows("Simulated: every process on a core of its own", ("cores in use", "p50 ms", "p99 ms"), rows)


def _target(target: Plan, assumed: Assumptions) -> Rows:
    rows = [
        [name, f"{each.cores:,.0f}", f"{each.replicas:,}", f"{each.shards}", f"{each.memory_request_mb / 1e3:.1f}"]
        for name, each in target.services.items()
    ]
    title = f"{assumed.predictions_per_s:,.0f} predictions a second, {assumed.media_millions:g} million media"
    return Rows(title, ("service", "cores busy", "replicas", "shards", "GB of a replica"), rows)


def _totals(target: Plan, assumed: Assumptions) -> Rows:
    rows = [
        ["pages a second", f"{target.pages_per_s:,.0f}"],
        ["replicas of one core", f"{target.replicas:,}"],
        ["share of its core that a replica uses", f"{assumed.utilisation:.0%}"],
        ["kB a page on the network", f"{target.network_bytes_per_page / 1e3:.1f}"],
        ["GB a second on the network", f"{target.network_gb_per_s:,.1f}"],
        [f"cost an hour, at {assumed.price_per_core_hour:g} a core and hour", f"{target.cost_per_hour:,.0f}"],
        ["cost of a million pages", f"{target.cost_per_million_pages:,.2f}"],
    ]
    return Rows("All together", ("", ""), rows)


def _kubernetes(target: Plan, assumed: Assumptions) -> Rows:
    rows = [
        [
            name,
            f"{each.pages_per_core_s * assumed.utilisation:.0f}",
            "1",
            "2",
            f"{_mebibytes(each.memory_request_mb)}Mi",
            f"{_mebibytes(each.memory_limit_mb)}Mi",
        ]
        for name, each in target.services.items()
    ]
    columns = ("container", "pages/s", "requests.cpu", "limits.cpu", "requests.memory", "limits.memory")
    title = f"Requests and limits of a replica, {assumed.media_millions:g} million media"
    return Rows(title, columns, rows)


def _mebibytes(megabytes: float) -> int:
    return math.ceil(megabytes / _MIB / _STEP_MIB) * _STEP_MIB
