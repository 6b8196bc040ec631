"""Are served pages any good? On synthetic worlds the truth is known: cascade against popularity and random pages.

Simulates a world per seed, trains, starts the five services, asks for pages and values them by what users would truly have done.
`python -m benchmarks.quality [--quick] [--seeds N]`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.report import at_least, command_line, finish
from cli.commands.data import WorldSize, make_simulated
from cli.commands.evaluation import compare
from cli.commands.train import train_bundle
from cli.workspace import Workspace

# A feed without models is worth 1; chance is worth less. Both bounds hold for the lower end of the 95 % interval of every seed.
LIFT_OVER_POPULARITY = 1.3
LIFT_OVER_RANDOM = 2.0
FUNNEL_VALUE = 0.97


def main() -> int:
    """Runs every seed, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    size, recipe = (WorldSize.TINY, "tiny") if arguments.quick else (WorldSize.DEFAULT, "default")
    users = 200 if arguments.quick else 500
    runs = [_run(size, recipe, seed, users) for seed in range(1, arguments.seeds + 1)]
    Console().print(_table(runs))
    checks = [
        at_least("lift over popularity, worst lower bound", _worst(runs, "popularity"), LIFT_OVER_POPULARITY),
        at_least("lift over random eligible, worst lower bound", _worst(runs, "random eligible"), LIFT_OVER_RANDOM),
        at_least("funnel value, worst mean", min(run["funnel_value"]["mean"] for run in runs), FUNNEL_VALUE),
    ]
    name = "quality_quick" if arguments.quick else "quality"
    return finish(name, command_line("benchmarks.quality"), {"runs": runs}, checks)


def _run(size: WorldSize, recipe: str, seed: int, users: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="explore-quality-") as scratch:
        workspace = Workspace(Path(scratch))
        started = time.monotonic()
        make_simulated(workspace, size, seed, "simulated")
        simulated = time.monotonic()
        manifest = train_bundle(workspace, workspace.current_dataset(), recipe, seed, activate=True)
        trained = time.monotonic()
        figures = compare(workspace, users, seed)
    del figures["bundle"]
    return {
        **figures,
        "world": size.value,
        "recipe": recipe,
        "simulate_s": round(simulated - started, 1),
        "train_s": round(trained - simulated, 1),
        "funnel_value": manifest.metrics["funnel"]["funnel_value"],  # type: ignore[index, call-overload]
    }


def _worst(runs: list[dict[str, Any]], over: str) -> float:
    return min(row["lift"]["low"] for run in runs for row in run["pages"] if row["page"] == over)


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table(
        title="True value per item (mean over users, 95 % interval), and how many times more the cascade is worth"
    )
    for column in ("seed", "page", "value per item", "cascade / page"):
        table.add_column(column, justify="left" if column == "page" else "right")
    for run in runs:
        for row in run["pages"]:
            lift = _text(row["lift"]) if row["lift"] else ""
            table.add_row(str(run["seed"]), row["page"], _text(row["value"]), lift)
    means = {
        row["page"]: np.mean([r["value"]["mean"] for run in runs for r in run["pages"] if r["page"] == row["page"]])
        for row in runs[0]["pages"]
    }
    table.add_section()
    for page, mean in means.items():
        table.add_row("all", page, f"{mean:.3f}", f"{means['cascade'] / mean:.2f}" if page != "cascade" else "")
    return table


def _text(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one tiny world, within 60 seconds on two cores")
    parser.add_argument("--seeds", type=int, help="how many worlds; 3, or 1 with --quick")
    arguments = parser.parse_args()
    if arguments.seeds is None:
        arguments.seeds = 1 if arguments.quick else 3
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
