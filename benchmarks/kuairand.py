"""AUC per task on KuaiRand-Pure: train before 2 May 2022, test on 2 to 4 May (days in China), several seeds; and what it takes.

`python -m benchmarks.kuairand DIR`, where DIR holds the data set's own CSV files. They are not part of this project.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich import box
from rich.table import Table

from benchmarks.report import Result, at_least, at_most, command_line, finish
from cli.progress import steps
from cli.sourcing import open_sourcing
from training import pipeline
from training.datasets import Dataset
from training.datasets.kuairand import import_kuairand
from training.memory import peak_memory
from training.recipes import RECIPES, Recipe

_CHINA = timezone(timedelta(hours=8))
TEST_START = datetime(2022, 5, 2, tzinfo=_CHINA)
TEST_END = datetime(2022, 5, 5, tzinfo=_CHINA)
EMBEDDING_SHARE = 0.2
MIN_CLICK_AUC = 0.70  # below this something is broken
MOST_SECONDS = 180  # for all stages


def main() -> int:
    """Trains once per seed, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-kuairand-") as scratch, steps() as progress:
        with progress.step("importing KuaiRand") as report:
            whole = import_kuairand(arguments.directory, Path(scratch) / "data", report)
        dataset = until(whole, TEST_END)
        runs, train_s = [], list[float]()
        for seed in range(1, arguments.seeds + 1):
            staged, began = Path(scratch) / f"bundle-{seed}", time.monotonic()
            runs.append(
                pipeline.train(slice_recipe(dataset).seeded(seed), dataset, staged, open_sourcing, progress).metrics
            )
            train_s.append(time.monotonic() - began)
    figures = {
        "examples": runs[0]["examples"],
        "seeds": arguments.seeds,
        "tasks": _tasks(runs),
        "train_s": _spread(train_s),
        "peak_bytes": peak_memory(),
    }
    checks = [
        at_least("click AUC, deep ranker, worst seed", figures["tasks"]["click"]["rerank"]["min"], MIN_CLICK_AUC),
        at_most("seconds for training all stages, slowest seed", figures["train_s"]["max"], MOST_SECONDS),
    ]
    return finish(Result("kuairand", command_line("benchmarks.kuairand"), figures, checks, [_table(figures)]))


def slice_recipe(dataset: Dataset) -> Recipe:
    """The recipe for small logs with the test window of this benchmark. Eight days are short, so embeddings get less of the log."""
    recipe = RECIPES["small"]()
    test_ms = dataset.as_of_ms - int(TEST_START.timestamp() * 1000)
    return replace(recipe, windows=replace(recipe.windows, embedding_share=EMBEDDING_SHARE, test_ms=test_ms))


def until(dataset: Dataset, end: datetime) -> Dataset:
    """The log before `end`: the full download goes on after the days that are tested here."""
    events = dataset.events.filter(pl.col("event_time") < end)
    last_ms = int(events["event_time"].dt.epoch("ms").max())  # type: ignore[arg-type]
    return replace(dataset, events=events, as_of_ms=last_ms + 1)


def _tasks(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        task: {
            "positives": found["n_positives"],
            "base_rate": found["base_rate"],
            **{stage: _spread([run[stage][task]["auc"] for run in runs]) for stage in ("rerank", "rank")},
            "rerank_gauc": _spread([run["rerank"][task]["gauc"] for run in runs]),
        }
        for task, found in runs[0]["rerank"].items()
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def _table(figures: dict[str, Any]) -> Table:
    shown, seeds = figures["examples"]["test"], figures["seeds"]
    title = (
        f"KuaiRand-Pure, 2 to 4 May 2022: {shown:,} impressions, {seeds} seeds (mean, min to max);"
        f" training all stages takes {figures['train_s']['mean']:.0f} s and {figures['peak_bytes'] / 1e6:,.0f} MB at most"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("task", "positives", "base rate", "deep ranker AUC", "light ranker AUC"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, found in figures["tasks"].items():
        spreads = (f"{s['mean']:.4f} [{s['min']:.4f}, {s['max']:.4f}]" for s in (found["rerank"], found["rank"]))
        table.add_row(task, f"{found['positives']:,}", f"{found['base_rate']:.4f}", *spreads)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kuairand", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
