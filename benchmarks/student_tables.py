"""The tables of benchmarks/student.py. Reads its figures; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

_MEASURES = {
    "recall_page": "best 25\nat 150",
    "recall_rank": "best 50\nat 150",
    "ndcg": "NDCG@150",
    "funnel_value": "funnel value",
}


def loss_table(figures: Mapping[str, Any]) -> Table:
    """Every way to fill the 150, in the order of the figures."""
    table = Table(
        title=f"{figures['source']}: {figures['slates']} slates that taught nothing, {figures['seeds']} seeds of each student\n"
        "(mean over seeds, 95 % interval over users)",
        box=box.SIMPLE_HEAD,
    )
    for column in ("order", *_MEASURES.values(), "CPU s"):
        table.add_column(column, justify="left" if column == "order" else "right")
    for name, found in figures["orders"].items():
        seconds = "" if found["seconds"] is None else f"{found['seconds']:.1f}"
        table.add_row(name, *(_interval(found[measure]) for measure in _MEASURES), seconds)
    return table


def truth_table(figures: Mapping[str, Any]) -> Table:
    """The stages against the truth, and each stage minus the one before it in the funnel."""
    table = Table(
        title=f"NDCG@25 against the world's true values: {figures['slates']} users of {figures['worlds']} worlds\n"
        "(95 % intervals over users; differences are paired)",
        box=box.SIMPLE_HEAD,
    )
    for column in ("order", "NDCG@25", "minus the next one"):
        table.add_column(column, justify="left" if column == "order" else "right")
    for name, found in figures["orders"].items():
        lead = figures["leads"].get(name)
        table.add_row(name, _interval(found), "" if lead is None else _interval(lead, "+"))
    return table


def _interval(found: Mapping[str, float | None], sign: str = "") -> str:
    if found["mean"] is None:
        return "-"
    return f"{found['mean']:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"
