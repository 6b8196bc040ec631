"""Are served pages any good? On synthetic worlds the truth is known: cascade against popularity and random pages.

Simulates a world per seed, trains, starts the five services, asks for pages and values them by what users would truly have done.
How long training takes is measured on the way, so run nothing beside it.
`python -m benchmarks.quality [--quick] [--seeds N]`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import TABLES, Result, at_least, at_most, command_line, finish
from cli.commands.data import WorldSize, make_simulated
from cli.commands.evaluation import compare, comparison_table
from cli.commands.train import train_bundle
from cli.workspace import Workspace

# Each bound holds for the lower end of the 95 % interval of every seed. Values are those of VALUE_WEIGHTS in training/recipes.py.
RATIO_TO_POPULARITY = 2.0
LEAD_OVER_RANDOM = 1.0
FUNNEL_VALUE = 0.98
MOST_TRAINING_S = 240.0  # all stages on the default world, two cores


def main() -> int:
    """Runs every seed, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    size, recipe = (WorldSize.TINY, "tiny") if arguments.quick else (WorldSize.DEFAULT, "default")
    users = 200 if arguments.quick else 500
    runs = [_run(size, recipe, seed, users) for seed in range(1, arguments.seeds + 1)]
    checks = [
        at_least("cascade / popularity, worst lower bound", _worst(runs, "popularity", "ratio"), RATIO_TO_POPULARITY),
        at_least(
            "cascade - random, worst lower bound", _worst(runs, "random eligible", "difference"), LEAD_OVER_RANDOM
        ),
        at_least("funnel value, worst mean", min(run["funnel_value"]["mean"] for run in runs), FUNNEL_VALUE),
    ]
    if not arguments.quick:
        slowest = max(run["train_s"] for run in runs)
        checks.append(at_most("seconds for training all stages, slowest world", slowest, MOST_TRAINING_S))
    name = "quality_quick" if arguments.quick else "quality"
    tables = [comparison_table(run) for run in runs]
    result = Result(name, command_line("benchmarks.quality"), {"runs": runs}, checks, tables)
    return finish(result, tables=None if arguments.quick else TABLES)


def _run(size: WorldSize, recipe: str, seed: int, users: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="explore-quality-") as scratch:
        workspace = Workspace(Path(scratch))
        started = time.monotonic()
        make_simulated(workspace, size, seed, "simulated")
        simulated = time.monotonic()
        manifest = train_bundle(workspace, workspace.current_dataset(), recipe, seed, activate=True)
        trained = time.monotonic()
        figures = compare(workspace, users, seed)
    return {
        **figures,
        "world": size.value,
        "recipe": recipe,
        "simulate_s": round(simulated - started, 1),
        "train_s": round(trained - simulated, 1),
        "funnel_value": manifest.metrics["funnel"]["funnel_value"],  # type: ignore[index, call-overload]
    }


def _worst(runs: list[dict[str, Any]], page: str, measure: str) -> float:
    """The lowest lower bound over all seeds; NaN, which fails every check, where the measure is undefined."""
    rows = [row for run in runs for row in run["pages"] if row["page"] == page]
    return min(row[measure]["low"] if row[measure] else float("nan") for row in rows)


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
