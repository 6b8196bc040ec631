"""Do the tasks of the deep ranker help or hurt each other? One ranker for all tasks against one ranker per task.

`python -m benchmarks.seesaw [DIR] [--quick] [--seeds N]`, where DIR holds KuaiRand-Pure's own CSV files: training before 2 May
2022, test on 2 to 4 May. Without DIR a simulated world. The rows are made once; seeds are those of the rankers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from benchmarks.models_rows import Rows, make_rows
from benchmarks.report import TABLES, Check, Result, at_least, command_line, finish
from benchmarks.sources import open_source
from cli.progress import steps
from training.pipeline import plain
from training.progress import Steps
from training.rankers import train_rerank
from training.resampling import Draws, Judge

Float32 = NDArray[np.float32]

# A head may lose no more than this to a ranker of its own, as far as the test rows can tell: the upper bound of the interval.
MOST_LOST = -0.01
RESAMPLES = 300


def main() -> int:
    """Trains the rankers, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-seesaw-") as scratch, steps() as progress:
        with progress.step("data set"):
            source = open_source(arguments.directory, arguments.quick, 1, Path(scratch) / "data")
        rows = make_rows(source.recipe, source.dataset, progress)
        found = _compare(rows, arguments.seeds, arguments.resamples, progress)
    figures = plain({"seeds": arguments.seeds, "test": len(rows.test), "tasks": found})
    name = "seesaw_quick" if arguments.quick else "seesaw_kuairand" if arguments.directory else "seesaw"
    result = Result(name, command_line("benchmarks.seesaw"), figures, _checks(found), [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


def _compare(rows: Rows, seeds: int, resamples: int, progress: Steps) -> dict[str, Any]:
    """Per task: AUC of the head among all, of the ranker of its own, and the difference, with intervals over users."""
    with progress.step("all tasks at once") as report:
        together_SNT = []
        for seed in range(1, seeds + 1):
            together_SNT.append(_predict(rows, seed, None))
            report(seed, seeds)
    found: dict[str, Any] = {}
    draws = Draws(rows.test.user_N, resamples)
    with progress.step("each task alone") as report:
        for number, task in enumerate(rows.tasks):
            label_N = rows.labels(rows.test)[:, number]
            alone_SN = np.stack([_predict(rows, seed, task)[:, 0] for seed in range(1, seeds + 1)])
            judge = Judge(label_N, draws)
            together, alone = judge.auc(np.stack([made_NT[:, number] for made_NT in together_SNT])), judge.auc(alone_SN)
            found[task] = {
                "positives": int(label_N.sum()),
                "together": {**asdict(together.interval()), "by_seed": together.by_seed},
                "alone": {**asdict(alone.interval()), "by_seed": alone.by_seed},
                "lead": asdict(together.minus(alone)),
            }
            report(number + 1, len(rows.tasks))
    return found


def _predict(rows: Rows, seed: int, task: str | None) -> Float32:
    """Probabilities of the test rows by a ranker of all tasks, or of one."""
    config = replace(
        rows.rerank, fit=replace(rows.rerank.fit, seed=seed), tasks=rows.tasks if task is None else (task,)
    )
    return train_rerank(config, rows.train, rows.valid, rows.items).probabilities(rows.test)


def _checks(found: Mapping[str, Any]) -> list[Check]:
    return [
        at_least(f"{task} AUC, all tasks - this one alone, upper bound", of_task["lead"]["high"], MOST_LOST)
        for task, of_task in found.items()
    ]


def _table(figures: Mapping[str, Any]) -> Table:
    title = f"AUC of the deep ranker on {figures['test']:,} test impressions, {figures['seeds']} seeds\n(95 % intervals over users)"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("task", "positives", "all tasks at once", "this task alone", "difference, paired"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, found in figures["tasks"].items():
        shown = (_interval(found[name], sign) for name, sign in (("together", ""), ("alone", ""), ("lead", "+")))
        table.add_row(task, f"{found['positives']:,}", *shown)
    return table


def _interval(found: Mapping[str, float | None], sign: str) -> str:
    if found["mean"] is None:
        return "-"
    return f"{found['mean']:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seesaw", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument("--quick", action="store_true", help="a tiny world, one seed: within 60 seconds on two cores")
    parser.add_argument("--seeds", type=int, help="seeds of the rankers; 3, or 1 with --quick")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the test users")
    arguments = parser.parse_args()
    if arguments.quick and arguments.directory is not None:
        parser.error("--quick makes a tiny world of its own; leave DIR out")
    if arguments.seeds is None:
        arguments.seeds = 1 if arguments.quick else 3
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
