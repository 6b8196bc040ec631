"""The tables of benchmarks/sourcing.py. Knows figures; computes none beyond sums and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.sourcing_memory import Memory
from benchmarks.sourcing_world import World


def requests_table(requests: Mapping[str, Mapping[str, Any]], reference: str) -> Table:
    """Every way of asking, and how it compares with one of them."""
    one = requests[reference]["cpu_ms"]["median"]
    table = Table(
        title="A request: ms of one core, median over users; median of repeats [min, max]", box=box.SIMPLE_HEAD
    )
    for column in ("", "CPU ms", f"x {reference}", "wall p50", "wall p99"):
        table.add_column(column, justify="right" if column else "left")
    for name, figures in requests.items():
        cpu, wall = figures["cpu_ms"], figures["wall_ms"]
        spread = f"{cpu['median']:.2f} [{cpu['min']:.2f}, {cpu['max']:.2f}]"
        table.add_row(name, spread, f"{cpu['median'] / one:.2f}", f"{wall['p50']:.2f}", f"{wall['p99']:.2f}")
    return table


def operators_table(operators: Sequence[Mapping[str, Any]]) -> Table:
    """The steps of the optimised plan, per request."""
    table = Table(title="Steps of the plan, per request (a step that several read runs once)", box=box.SIMPLE_HEAD)
    for column in ("step", "rows in", "rows out", "ms alone", "ms in batch", "dropped"):
        table.add_column(column, justify="left" if column in ("step", "dropped") else "right")
    for row in operators:
        dropped = ", ".join(f"{reason} {count:.0f}" for reason, count in row["dropped"].items() if count >= 0.5)
        rows = (f"{row['rows_in']:.0f}", f"{row['rows_out']:.0f}")
        table.add_row(row["step"], *rows, f"{row['ms_alone']:.3f}", f"{row['ms_batched']:.3f}", dropped)
    total = (f"{sum(row[key] for row in operators):.3f}" for key in ("ms_alone", "ms_batched"))
    table.add_row("all steps", "", "", *total, "", style="bold")
    return table


def memory_table(memory: Memory) -> Table:
    """What is resident, the parts first that are held against the raw content."""
    title = f"Memory of a process after {memory.users} requests, in MB: {memory.ratio:.2f} x the raw vectors and lists"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("", "raw", "mapped", "private", "resident"):
        table.add_column(column, justify="right" if column else "left")
    for counted in (True, False):
        for part in memory.parts:
            if part.counted == counted:
                raw = f"{part.raw_mb:.1f}" if part.raw_mb else ""
                table.add_row(
                    part.name, raw, *(f"{mb:.1f}" for mb in (part.mapped_mb, part.private_mb, part.resident_mb))
                )
        if counted:
            resident = sum(part.resident_mb for part in memory.parts if part.counted)
            table.add_row(
                "held against the raw content", f"{memory.raw_mb:.1f}", "", "", f"{resident:.1f}", style="bold"
            )
    table.add_row("everything since the imports", "", "", "", f"{memory.total_mb:.1f}", style="bold")
    # Neighbour lists answer the job, so that nobody searches the index.
    table.caption = (
        f"Of the account index, {memory.index_mb:.1f} MB, what a search visits is mapped: this job does not search."
    )
    return table


def building_table(world: World) -> Table:
    """How long each file took to make, when it was made."""
    size = world.size
    title = f"Building for {size.accounts:,} accounts and {size.media:,} media; account index: {world.index_kind}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("step", "seconds", "CPU seconds", "cores used"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step in world.built:
        if step.wall_s >= 0.1:
            table.add_row(step.step, f"{step.wall_s:.1f}", f"{step.cpu_s:.1f}", f"{step.cpu_s / step.wall_s:.1f}")
    return table
