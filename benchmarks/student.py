"""Which loss makes the best prerank student, what do its few features cost, and does every stage know more than the one before?

`python -m benchmarks.student [DIR] [--quick] [--seeds N] [--worlds N]`, where DIR holds KuaiRand-Pure's own CSV files. Without DIR
simulated worlds: students of every loss and seed share the teacher of the first one, and the truth of all of them judges the order
deep ranker, light ranker, student, retrieval.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import student_tables as shown
from benchmarks.report import TABLES, Check, Result, at_least, command_line, finish
from benchmarks.sources import open_source
from benchmarks.student_slates import Judged, make_slates
from cli.progress import Steps, steps
from features.schema import Stage
from training import metrics
from training.distillation import ListLoss, StudentConfig, train_student
from training.funnel import FunnelValues, funnel_values
from training.pipeline import plain

Float32 = NDArray[np.float32]

RECALL_OF_PAGE, FUNNEL_VALUE = 0.95, 0.98
QUICK_LEAD = -0.1  # a tiny world tells no more than that nothing broke
PAGE = 25
_RECIPE_LOSS = StudentConfig().loss
_EVERYTHING = f"{_RECIPE_LOSS.value}, features of rank"


def main() -> int:
    """Trains teachers and students, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    torch.set_num_threads(1)  # CPU seconds of different losses compare only if no thread waits for another
    with tempfile.TemporaryDirectory(prefix="explore-student-") as scratch, steps() as progress:
        worlds = [
            _judged(arguments, Path(scratch) / str(world), world, progress) for world in range(1, arguments.worlds + 1)
        ]
        orders = _orders(worlds[0], arguments.seeds, progress)
        truth = _truth(worlds) if worlds[0].true_N is not None else None
    figures = plain(
        {
            "source": "KuaiRand-Pure" if arguments.directory else "simulated world",
            "slates": len(worlds[0].halves()[1].slates),
            "seeds": arguments.seeds,
            "recipe_loss": _RECIPE_LOSS.value,
            "orders": orders,
            "truth": truth,
        }
    )
    tables = [shown.loss_table(figures), *([shown.truth_table(figures["truth"])] if truth else [])]
    name = "student_quick" if arguments.quick else "student_kuairand" if arguments.directory else "student"
    result = Result(name, command_line("benchmarks.student"), figures, _checks(figures, arguments.quick), tables)
    return finish(result, tables=None if arguments.quick else TABLES)


def _judged(arguments: argparse.Namespace, scratch: Path, seed: int, progress: Steps) -> Judged:
    with progress.step(f"data set {seed}"):
        source = open_source(arguments.directory, arguments.quick, seed, scratch / "data")
    return make_slates(source.recipe, source.dataset, source.world, scratch / "bundle", progress)


def _orders(judged: Judged, seeds: int, progress: Steps) -> dict[str, Any]:
    """Every loss, the recipe's one on all features that rank has, and orders that nobody learned."""
    taught, measured = judged.halves()
    found: dict[str, Any] = {}
    trained = [(loss.value, loss, Stage.PRERANK) for loss in ListLoss] + [(_EVERYTHING, _RECIPE_LOSS, Stage.RANK)]
    with progress.step("students") as report:
        for number, (name, loss, stage) in enumerate(trained):
            started, by_seed = time.process_time(), list[FunnelValues]()
            for seed in range(1, seeds + 1):
                by_seed.append(_kept(measured, _student(taught, measured, loss, stage, seed)))
                report(number * seeds + seed, len(trained) * seeds)
            found[name] = {**_over_seeds(by_seed), "seconds": (time.process_time() - started) / seeds}
    for name, score_N in (
        ("light ranker", measured.light_N),
        ("popularity", measured.popularity_N),
        ("retrieval", measured.retrieval_N),
    ):
        found[name] = {**_over_seeds([_kept(measured, score_N)]), "seconds": None}
    return found


def _student(taught: Judged, measured: Judged, loss: ListLoss, stage: Stage, seed: int) -> Float32:
    config = StudentConfig(loss=loss)
    config = replace(config, fit=replace(config.fit, seed=seed))
    return train_student(config, taught.slates, taught.deep_N, stage=stage).scores(measured.slates)


def _kept(measured: Judged, score_N: Float32) -> FunnelValues:
    return funnel_values(measured.slates, score_N, measured.light_N, measured.deep_N)


def _over_seeds(by_seed: Sequence[FunnelValues]) -> dict[str, Any]:
    """Each measure: mean over seeds with an interval over users, and the means of the seeds."""
    described = {}
    by_measure = [found.by_measure() for found in by_seed]
    for measure in by_measure[0]:
        value_SB = np.stack([values[measure] for values in by_measure])
        interval = metrics.bootstrap_mean(value_SB.mean(axis=0), np.arange(value_SB.shape[1]))
        described[measure] = {**asdict(interval), "by_seed": np.nanmean(value_SB, axis=1).tolist()}
    return described


def _truth(worlds: Sequence[Judged]) -> dict[str, Any]:
    """NDCG@25 of every stage's order of whole slates, gains being true values that are not negative."""
    parts: dict[str, list[NDArray[np.floating]]] = {}
    for seed, judged in enumerate(worlds, start=1):
        taught, measured = judged.halves()
        assert measured.true_N is not None
        gain_BC = measured.slates.padded(np.maximum(measured.true_N, 0), 0)
        stages = {
            "deep ranker": measured.deep_N,
            "light ranker": measured.light_N,
            "student": _student(taught, measured, _RECIPE_LOSS, Stage.PRERANK, seed),
            "retrieval": measured.retrieval_N,
        }
        for name, score_N in stages.items():
            ndcg_B = metrics.ndcg_at_k(gain_BC, measured.slates.padded(score_N, -np.inf), PAGE)
            parts.setdefault(name, []).append(ndcg_B)
    value_B = {name: np.concatenate(found) for name, found in parts.items()}
    names, slate_B = list(value_B), np.arange(len(value_B["student"]))
    return {
        "worlds": len(worlds),
        "slates": len(slate_B),
        "orders": {name: asdict(metrics.bootstrap_mean(value_B[name], slate_B)) for name in names},
        "leads": {
            name: asdict(metrics.bootstrap_mean(value_B[name] - value_B[after], slate_B))
            for name, after in pairwise(names)
        },
        "by_world": {name: [float(np.nanmean(of_world)) for of_world in found] for name, found in parts.items()},
    }


def _checks(figures: Mapping[str, Any], quick: bool) -> list[Check]:
    """The recipe's loss by the funnel's bounds. No stage may be surely worse than the one before it in the funnel."""
    student = figures["orders"][figures["recipe_loss"]]
    checks = [
        at_least(
            f"recall of the best {PAGE} at 150, {figures['recipe_loss']}", _mean(student["recall_page"]), RECALL_OF_PAGE
        ),
        at_least(f"funnel value, {figures['recipe_loss']}", _mean(student["funnel_value"]), FUNNEL_VALUE),
    ]
    if figures["truth"] is None:
        return checks
    names = list(figures["truth"]["orders"])
    for name, after in pairwise(names):
        lead = figures["truth"]["leads"][name]
        shown_as = f"true NDCG@{PAGE}, {name} - {after}, upper bound"
        checks.append(
            at_least(shown_as, float("nan") if lead["high"] is None else lead["high"], QUICK_LEAD if quick else 0.0)
        )
    return checks


def _mean(found: Mapping[str, Any]) -> float:
    return float("nan") if found["mean"] is None else float(found["mean"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.student", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument("--quick", action="store_true", help="one tiny world, one seed: within 60 seconds on two cores")
    parser.add_argument("--seeds", type=int, help="students of each loss; 5, or 1 with --quick")
    parser.add_argument("--worlds", type=int, help="simulated worlds; 3, or 1 with --quick or DIR")
    arguments = parser.parse_args()
    if arguments.quick and arguments.directory is not None:
        parser.error("--quick makes a tiny world of its own; leave DIR out")
    if arguments.seeds is None:
        arguments.seeds = 1 if arguments.quick else 5
    if arguments.worlds is None or arguments.directory is not None:
        arguments.worlds = 1 if arguments.quick or arguments.directory is not None else 3
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
