"""Which blocks should the deep ranker be made of? One change at a time against the plain one, on the same rows in the same run.

`python -m benchmarks.architectures [DIR] [--quick] [--seeds N] [--processes N] [--keep FOLDER]`, where DIR holds KuaiRand-Pure's
own CSV files, cut as in `benchmarks.models`; without DIR a simulated world. LightGBM runs beside them where it is installed. With
`--keep` a stopped run goes on where it was: its rows and predictions lie in FOLDER, to be emptied when code or data change.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from benchmarks import architectures_tables as shown
from benchmarks.architectures_pages import page_ms
from benchmarks.architectures_runs import TREES, Fit, Key, choices, fits, quick_choices
from benchmarks.kuairand import TEST_END, slice_recipe, until
from benchmarks.models_libraries import missing
from benchmarks.models_rows import TASKS_TO_LEAD, Rows, make_rows
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import Steps, steps
from training.datasets import simulate
from training.datasets.kuairand import import_kuairand
from training.pipeline import plain
from training.ranking_set import RankingSet
from training.recipes import RECIPES
from training.resampling import Draws, Judge, Judged

PLAIN = "plain"
RECIPE = "recipe"
LEAD_OVER_TREES = 0.005
LOSS_TO_PLAIN, QUICK_LOSS = -0.001, -0.05  # a tiny world tells no more than that nothing broke
PAGE_MS = 5.0
RARELY_SEEN = {"new media": 1, "cold media": 5}  # media with fewer training impressions than this
RESAMPLES, QUICK_RESAMPLES = 300, 30

Measures = dict[str, Judged]  # what is measured to how well


def main() -> int:
    """Fits every choice, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-architectures-") as scratch, steps() as progress:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = _rows(arguments, folder, progress)
        configs = quick_choices(rows.rerank) if arguments.quick else choices(rows.rerank)
        names = [*configs, *([TREES] if not arguments.quick and not missing("lightgbm") else [])]
        keys = [Key(name, seed) for seed in range(1, arguments.seeds + 1) for name in names]
        found: dict[Key, Fit] = {}
        with progress.step("fits") as report:
            for key, fit in fits(keys, configs, folder, arguments.processes):
                found[key] = fit
                report(len(found), len(keys))
        by_name = {name: [found[key] for key in keys if key.name == name] for name in names}
        with progress.step("intervals") as report:
            judged = {}
            for number, (name, of_name) in enumerate(by_name.items(), start=1):
                judged[name] = _measures(rows, of_name, arguments.resamples)
                report(number, len(by_name))
        with progress.step("pages"):
            pages = page_ms(configs, rows)
    return _finish(arguments, rows, by_name, judged, pages)


def _rows(arguments: argparse.Namespace, folder: Path, progress: Steps) -> Rows:
    file = folder / "rows.pickle"
    if file.exists():
        with file.open("rb") as source:
            kept: Rows = pickle.load(source)
        return kept
    with tempfile.TemporaryDirectory(prefix="explore-architectures-") as data, progress.step("data set"):
        if arguments.directory is not None:
            dataset = until(import_kuairand(arguments.directory, Path(data)), TEST_END)
            recipe = slice_recipe(dataset)
        else:
            dataset = simulate.simulate(simulate.tiny() if arguments.quick else simulate.default(), Path(data))
            recipe = RECIPES["tiny" if arguments.quick else "default"]()
        rows = make_rows(recipe.seeded(1), dataset, progress)
    with file.open("wb") as out:
        pickle.dump(rows, out, protocol=5)
    return rows


def _measures(rows: Rows, found: list[Fit], resamples: int) -> Measures:
    """AUC of each task on the test days; means over all tasks, over the rare ones, and on validation rows; rarely seen media."""
    test_SNT, valid_SNT = (np.stack([getattr(fit, split) for fit in found]) for split in ("probability_NT", "valid_NT"))
    measures = _by_task(rows, rows.test, test_SNT, resamples)
    measures["all heads"] = _mean([measures[task] for task in rows.tasks])
    rare = [measures[task] for task in rows.tasks if task not in TASKS_TO_LEAD]
    if rare:
        measures["rare heads"] = _mean(rare)
    for named, limit in RARELY_SEEN.items():
        few_N = seen_less_than(limit, rows)
        if few_N.any():
            judge = Judge(rows.labels(rows.test)[few_N, 0], Draws(rows.test.user_N[few_N], resamples))
            measures[f"{rows.tasks[0]}, {named}"] = judge.auc(np.ascontiguousarray(test_SNT[:, few_N, 0]))
    if valid_SNT.size:
        of_valid = _by_task(rows, rows.valid, valid_SNT, resamples)
        measures["all heads, validation"] = _mean([of_valid[task] for task in rows.tasks])
    return measures


def _by_task(rows: Rows, split: RankingSet, probability_SNT: NDArray[np.float32], resamples: int) -> Measures:
    label_NT, draws = rows.labels(split), Draws(split.user_N, resamples)
    return {
        task: Judge(label_NT[:, number], draws).auc(np.ascontiguousarray(probability_SNT[:, :, number]))
        for number, task in enumerate(rows.tasks)
    }


def _mean(judged: list[Judged]) -> Judged:
    """Over tasks that were judged on the same draws of users."""
    by_seed = tuple(np.mean([each.by_seed for each in judged], axis=0).tolist())
    return Judged(float(np.mean(by_seed)), by_seed, np.mean([each.mean_R for each in judged], axis=0))


def seen_less_than(limit: int, rows: Rows) -> NDArray[np.bool_]:
    """Which test impressions [N] show a medium with fewer than `limit` training impressions."""
    seen_M = np.bincount(rows.train.row_N, minlength=len(rows.items.media_id_M))
    few_N: NDArray[np.bool_] = seen_M[rows.test.row_N] < limit
    return few_N


def _finish(
    arguments: argparse.Namespace,
    rows: Rows,
    by_name: Mapping[str, list[Fit]],
    judged: Mapping[str, Measures],
    pages: Mapping[str, float],
) -> int:
    label_NT = rows.labels(rows.test)
    figures: dict[str, Any] = {
        "examples": {name: len(split) for name, split in zip(("train", "valid", "test"), rows.splits, strict=True)},
        "positives": {task: int(label_NT[:, number].sum()) for number, task in enumerate(rows.tasks)},
        "rarely_seen": {named: int(seen_less_than(limit, rows).sum()) for named, limit in RARELY_SEEN.items()},
        "seeds": arguments.seeds,
        "resamples": arguments.resamples,
        "choices": {
            name: {
                "auc": {measure: _described(found, judged[PLAIN][measure]) for measure, found in measures.items()},
                "seconds": float(np.mean([fit.seconds for fit in by_name[name]])),
                "page_ms": pages.get(name),
            }
            for name, measures in judged.items()
        },
    }
    figures = plain(figures)
    name = "architectures" + ("_quick" if arguments.quick else "" if arguments.directory else "_simulated")
    checks = _checks(judged, pages, arguments.quick)
    tables: list[RenderableType] = [shown.about(figures, PLAIN), *shown.tables(figures, PLAIN)]
    result = Result(name, command_line("benchmarks.architectures"), figures, checks, tables)
    return finish(result, tables=None if arguments.quick else TABLES)


def _described(found: Judged, of_plain: Judged) -> dict[str, Any]:
    return {"mean": found.mean, "by_seed": found.by_seed, "lead": asdict(found.minus(of_plain))}


def _checks(judged: Mapping[str, Measures], pages: Mapping[str, float], quick: bool) -> list[Check]:
    """The recipe's choice is no worse than the plain one, ahead of LightGBM where that ran, and quick to score a page."""
    of_recipe = judged[RECIPE]
    lead = of_recipe["all heads"].minus(judged[PLAIN]["all heads"])
    named = f"AUC over all heads, recipe - plain [{lead.low:+.4f}, {lead.high:+.4f}]"
    checks = [at_least(named, lead.mean, QUICK_LOSS if quick else LOSS_TO_PLAIN)]
    for task in TASKS_TO_LEAD if TREES in judged else ():
        lead = of_recipe[task].minus(judged[TREES][task])
        named = f"{task} AUC, recipe - LightGBM [{lead.low:+.4f}, {lead.high:+.4f}]"
        checks.append(at_least(named, lead.mean, LEAD_OVER_TREES))
    checks.append(at_most("CPU ms per page, recipe", pages[RECIPE], PAGE_MS))
    return checks


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument("--quick", action="store_true", help="a tiny world, one seed, few choices: within 60 seconds")
    parser.add_argument("--seeds", type=int, help="seeds of the fits; 3, or 1 with --quick")
    parser.add_argument("--processes", type=int, default=1, help="fits at the same time, one thread each")
    parser.add_argument("--keep", type=Path, help="folder that keeps rows and predictions for the next run")
    parser.add_argument(
        "--resamples", type=int, help=f"of the test users; {RESAMPLES}, or {QUICK_RESAMPLES} with --quick"
    )
    arguments = parser.parse_args()
    if arguments.seeds is None:
        arguments.seeds = 1 if arguments.quick else 3
    if arguments.resamples is None:
        arguments.resamples = QUICK_RESAMPLES if arguments.quick else RESAMPLES
    if arguments.quick and arguments.directory is not None:
        parser.error("--quick makes a tiny world of its own; leave DIR out")
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
