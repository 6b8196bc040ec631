"""The tables of benchmarks/models.py. Reads its figures; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table


def task_table(task: str, found: Mapping[str, Any], deep: str) -> Table:
    """All models on one task, the best AUC first."""
    title = f"{task}: {found['positives']:,} positives of {found['impressions']:,} test impressions"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("model", "AUC", f"{deep} - model, AUC", "GAUC", f"{deep} - model, GAUC"):
        table.add_column(column, justify="left" if column == "model" else "right")
    models = found["models"]
    for name in sorted(models, key=lambda name: -models[name]["auc"]["mean"]):
        figures = models[name]
        table.add_row(
            f"[bold]{name}" if name == deep else name,
            _level(figures["auc"]),
            _lead(figures.get("auc_lead")),
            _level(figures["gauc"]),
            _lead(figures.get("gauc_lead")),
        )
    return table


def cost_table(costs: Mapping[str, Mapping[str, Any]], absent: Mapping[str, str]) -> Table:
    """Time and memory, and which models are missing."""
    table = Table(
        title="Cost on one thread: training, and scoring the test rows twice, all tasks",
        box=box.SIMPLE_HEAD,
    )
    for column in ("model", "seeds", "CPU seconds per seed", "peak MB", "of it libraries and rows"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, cost in costs.items():
        numbers = (f"{cost[key]:,.0f}" for key in ("peak_mb", "start_mb"))
        table.add_row(name, str(cost["seeds"]), f"{cost['seconds']:.1f}", *numbers)
    for name, hint in absent.items():
        table.add_row(name, "", f"left out: {hint}", "", "")
    return table


def about(figures: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """What the tables show, in a sentence or two."""
    rows = figures["examples"]
    return (
        f"{rows['train']:,} impressions train, {rows['valid']:,} stop, {rows['test']:,} test. Means over up to {figures['seeds']} "
        f"seeds of the models, with 95 % intervals over {figures['resamples']} resamples of the test users, the same for "
        f"all models. GAUC compares a user's impressions with the history that the user had when the test window began, AUC "
        f"all impressions with the history of each moment. Tasks: {', '.join(tasks)}.\n"
    )


def _level(interval: Mapping[str, float]) -> str:
    return f"{interval['mean']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]"


def _lead(interval: Mapping[str, float] | None) -> str:
    return f"{interval['mean']:+.4f} [{interval['low']:+.4f}, {interval['high']:+.4f}]" if interval else ""
