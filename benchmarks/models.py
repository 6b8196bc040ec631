"""Is the deep ranker worth its weight? Popularity, logistic regression, FM, LightGBM and DeepFM on the same rows in the same run.

`python -m benchmarks.models [DIR] [--quick] [--seeds N]`, where DIR holds KuaiRand-Pure's own CSV files: training before 2 May
2022, test on 2 to 4 May. Without DIR a simulated world. The rows, and the vectors behind their features, are made once; seeds are
those of the models, fewer of the slow baselines. LightGBM and torch-rechub are no part of this project: install them beside it
for the comparison (`pip install lightgbm`, and for DeepFM `pip install --no-deps torch-rechub` with scikit-learn, pandas, tqdm).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from benchmarks import models_tables as shown
from benchmarks.kuairand import TEST_END, slice_recipe, until
from benchmarks.models_libraries import HINTS
from benchmarks.models_rows import TASKS_TO_LEAD, Rows, make_rows
from benchmarks.models_runs import DEEP, MODELS, TREES, TREES_WITH_IDS, Run, runs
from benchmarks.report import TABLES, Check, Result, at_least, command_line, finish
from cli.progress import Steps, steps
from training.datasets import simulate
from training.datasets.kuairand import import_kuairand
from training.pipeline import plain
from training.recipes import RECIPES
from training.resampling import Draws, Judge, Judged

LEAD_OVER_TREES = 0.005
QUICK_LEAD = -0.05  # a tiny world tells no more than that nothing broke
RESAMPLES = 300

Float32 = NDArray[np.float32]
_Judged = dict[str, dict[str, tuple[Judged, Judged]]]  # task to model to AUC and GAUC


def main() -> int:
    """Trains every model, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    asked = [model for model in MODELS if model.quick or not arguments.quick]
    absent = [model for model in asked if model.absent()]
    if any(model.name == TREES for model in absent):  # the others can be left out, but this is the one to beat
        raise SystemExit(f"LightGBM is not installed: `{HINTS['lightgbm']}` into this environment")
    with tempfile.TemporaryDirectory(prefix="explore-models-") as scratch, steps() as progress:
        rows = _rows(arguments, Path(scratch), progress)
        present = [model for model in asked if model not in absent]
        found: dict[str, Run] = {}
        with progress.step("models") as report:
            for name, run in runs(rows, present, arguments.seeds, Path(scratch)):
                found[name] = run
                report(len(found), len(present))
        with progress.step("intervals") as report:
            judged: _Judged = {}
            draws = Draws(rows.test.user_N, arguments.resamples)
            for number, task in enumerate(rows.tasks):
                judged[task] = _judge(rows, number, found, draws)
                report(number + 1, len(rows.tasks))
    left_out = {model.name: HINTS[model.library] for model in absent if model.library}
    return _finish(arguments, rows, found, judged, left_out)


def _rows(arguments: argparse.Namespace, scratch: Path, progress: Steps) -> Rows:
    with progress.step("data set"):
        if arguments.directory is not None:
            dataset = until(import_kuairand(arguments.directory, scratch / "data"), TEST_END)
            recipe = slice_recipe(dataset)
        else:
            config = simulate.tiny() if arguments.quick else simulate.default()
            dataset = simulate.simulate(config, scratch / "data")
            recipe = RECIPES["tiny" if arguments.quick else "default"]()
    return make_rows(recipe.seeded(1), dataset, progress, with_frozen=True)


def _judge(rows: Rows, task: int, found: Mapping[str, Run], draws: Draws) -> dict[str, tuple[Judged, Judged]]:
    """AUC and GAUC of every model on one task: GAUC with each user's history of the window's start, as everywhere."""
    judge = Judge(rows.labels(rows.test)[:, task], draws)

    def of_task(score_SNT: Float32) -> Float32:
        return np.ascontiguousarray(score_SNT[:, :, task])

    return {
        name: (judge.auc(of_task(run.probability_SNT)), judge.gauc(of_task(run.frozen_SNT)))
        for name, run in found.items()
    }


def _finish(
    arguments: argparse.Namespace,
    rows: Rows,
    found: Mapping[str, Run],
    judged: _Judged,
    left_out: dict[str, str],
) -> int:
    costs = {
        name: {
            "seeds": len(run.seconds_S),
            "seconds": float(np.mean(run.seconds_S)),
            "start_mb": run.start_mb,
            "peak_mb": run.peak_mb,
        }
        for name, run in found.items()
    }
    figures = {
        "examples": {name: len(s) for name, s in zip(("train", "valid", "test"), rows.splits, strict=True)},
        "test_users": len(np.unique(rows.test.user_N)),
        "seeds": arguments.seeds,
        "resamples": arguments.resamples,
        "tasks": _tasks(rows, judged),
        "costs": costs,
        "left_out": left_out,
    }
    figures = plain(figures)
    tables: list[RenderableType] = [
        shown.about(figures, rows.tasks),
        *(shown.task_table(task, of_task, DEEP) for task, of_task in figures["tasks"].items()),
        shown.cost_table(figures["costs"], left_out),
    ]
    name = "models_quick" if arguments.quick else "models" if arguments.directory else "models_simulated"
    result = Result(name, command_line("benchmarks.models"), figures, _checks(judged, arguments.quick), tables)
    return finish(result, tables=None if arguments.quick else TABLES)


def _tasks(rows: Rows, judged: _Judged) -> dict[str, Any]:
    label_NT = rows.labels(rows.test)
    return {
        task: {
            "positives": int(label_NT[:, number].sum()),
            "impressions": len(label_NT),
            "models": {name: _described(found, judged[task][DEEP], name) for name, found in judged[task].items()},
        }
        for number, task in enumerate(rows.tasks)
    }


def _described(found: tuple[Judged, Judged], deep: tuple[Judged, Judged], name: str) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for measure, judged, ahead in zip(("auc", "gauc"), found, deep, strict=True):
        described[measure] = {**asdict(judged.interval()), "by_seed": judged.by_seed}
        if name != DEEP:
            described[f"{measure}_lead"] = asdict(ahead.minus(judged))
    return described


def _checks(judged: _Judged, quick: bool) -> list[Check]:
    """AUC of the deep ranker: ahead of LightGBM by a margin, whatever that has been given, and of everything else."""
    checks = []
    for task in TASKS_TO_LEAD:
        deep = judged[task][DEEP][0]
        for name, (other, _) in judged[task].items():
            if name == DEEP:
                continue
            bound = QUICK_LEAD if quick else LEAD_OVER_TREES if name in (TREES, TREES_WITH_IDS) else 0.0
            lead = deep.minus(other)
            shown_as = f"{task} AUC, {DEEP} - {name} [{lead.low:+.4f}, {lead.high:+.4f}]"
            checks.append(at_least(shown_as, lead.mean, bound))
    return checks


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny world, one seed, no other library: within 60 seconds"
    )
    parser.add_argument("--seeds", type=int, help="seeds of the models; 5, or 1 with --quick")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the test users")
    arguments = parser.parse_args()
    if arguments.seeds is None:
        arguments.seeds = 1 if arguments.quick else 5
    if arguments.quick and arguments.directory is not None:
        parser.error("--quick makes a tiny world of its own; leave DIR out")
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
