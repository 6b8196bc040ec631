"""The tables of benchmarks/architectures.py. Reads its figures; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

_PER_TABLE = 3  # measures side by side


def about(figures: Mapping[str, Any], plain: str) -> str:
    """What the tables show, in a sentence or two."""
    rows, positives = figures["examples"], figures["positives"]
    counted = ", ".join(f"{task} {n:,}" for task, n in positives.items())
    few = ", ".join(f"{named} {n:,}" for named, n in figures["rarely_seen"].items())
    return (
        f"{rows['train']:,} impressions train, {rows['valid']:,} stop, {rows['test']:,} test (positives: {counted}; impressions "
        f"of {few}). AUC, mean over {figures['seeds']} seeds, and its difference to "
        f"{plain} with 95 % intervals over {figures['resamples']} resamples of the users.\n"
    )


def tables(figures: Mapping[str, Any], plain: str) -> Iterator[Table]:
    """A few measures per table, then what it costs."""
    found: Mapping[str, Any] = figures["choices"]
    measures = list(found[plain]["auc"])
    for start in range(0, len(measures), _PER_TABLE):
        yield _levels(found, measures[start : start + _PER_TABLE], plain)
    cost = Table(title="Cost on one thread", box=box.SIMPLE_HEAD)
    for column in ("choice", "CPU s to train and score", "CPU ms per page of 50"):
        cost.add_column(column, justify="left" if column == "choice" else "right")
    for name, of_name in found.items():
        page = of_name["page_ms"]
        cost.add_row(name, f"{of_name['seconds']:.1f}", "" if page is None else f"{page:.2f}")
    yield cost


def _levels(found: Mapping[str, Any], measures: Sequence[str], plain: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("choice")
    for measure in measures:
        table.add_column(measure, justify="right")
    for name, of_name in found.items():
        table.add_row(name, *(_cell(of_name["auc"].get(measure), name == plain) for measure in measures))
    return table


def _cell(level: Mapping[str, Any] | None, is_plain: bool) -> str:
    if level is None:
        return ""
    lead = level["lead"]
    told = f"{level['mean']:.4f}"
    return told if is_plain else f"{told} {lead['mean']:+.4f} [{lead['low']:+.4f}, {lead['high']:+.4f}]"
