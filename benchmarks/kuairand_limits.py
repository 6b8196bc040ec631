"""What would raise AUC on KuaiRand: other columns, or another fit of the deep ranker? Both judged on 30 April and 1 May 2022.

`python -m benchmarks.kuairand_limits DIR [--seeds N]`, where DIR holds KuaiRand-Pure's own CSV files. The days from 2 May on,
which `benchmarks.models` tests on, are cut off before anything is computed. Boosted trees take each group of columns beside the
rankers' dense features, so that a gain is one of information and not of the model; the deep ranker gets the same rows with
other settings, and the mean of its seeds says what chance costs it. Needs LightGBM, as `benchmarks.models` does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from benchmarks import kuairand_columns as columns
from benchmarks.kuairand import TEST_START, slice_recipe, until
from benchmarks.models_baselines import deep_ranker, logistic_regression
from benchmarks.models_libraries import HINTS, boosted, missing
from benchmarks.models_rows import TASKS_TO_LEAD, Rows, make_rows
from benchmarks.report import Result, at_least, command_line, finish
from cli.progress import Steps, steps
from features.counters import DAY_MS
from training import metrics
from training.datasets import Dataset
from training.datasets.kuairand import ID_OFFSET, import_kuairand
from training.event_log import EventLog
from training.rankers import RerankConfig
from training.ranking_set import RankingSet

Float32 = NDArray[np.float32]
_Auc = dict[str, list[float]]  # task to AUC by seed

JUDGED_MS = 2 * DAY_MS
DENSE, EVERYTHING = "the rankers' dense features", "all of these"
AS_IS = "as the recipe has it"


def main() -> int:
    """Trains every variant, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    if missing("lightgbm"):
        raise SystemExit(f"LightGBM is not installed: `{HINTS['lightgbm']}` into this environment")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="explore-limits-") as scratch, steps() as progress:
        with progress.step("data set"):
            dataset = until(import_kuairand(arguments.directory, Path(scratch) / "data"), TEST_START)
        recipe = slice_recipe(dataset)
        recipe = replace(recipe, windows=replace(recipe.windows, test_ms=JUDGED_MS))
        rows = make_rows(recipe.seeded(1), dataset, progress)
        with progress.step("columns"):
            extras = _extras(arguments.directory, dataset, rows)
        trees = _trees(rows, extras, arguments.seeds, progress)
        networks = _networks(rows, arguments.seeds, progress)
    figures = {
        "examples": {name: len(s) for name, s in zip(("train", "valid", "test"), rows.splits, strict=True)},
        "seeds": arguments.seeds,
        "columns": trees,
        "deep": networks,
    }
    checks = [
        at_least(f"{task} AUC, {EVERYTHING} - {DENSE}", _mean(trees[EVERYTHING], task) - _mean(trees[DENSE], task), 0)
        for task in TASKS_TO_LEAD
    ]
    tables = [
        _table("Boosted trees on the dense features and", trees, DENSE, figures),
        _table("The deep ranker", networks, AS_IS, figures),
    ]
    return finish(Result("kuairand_limits", command_line("benchmarks.kuairand_limits"), figures, checks, tables))


def variants(config: RerankConfig) -> Mapping[str, RerankConfig]:
    """Other ways to fit the deep ranker, none of them slower than `config` by more than its epochs say."""

    def fitted(**changes: Any) -> RerankConfig:
        return replace(config, fit=replace(config.fit, **changes))

    def built(**changes: Any) -> RerankConfig:
        return replace(config, architecture=replace(config.architecture, **changes))

    half = built(experts=2, hidden=48, output=32)
    return {
        AS_IS: config,
        "no regression beside it": built(regression=False),
        "learning rate .002": fitted(learning_rate=2e-3),
        "two epochs, .002 and .001 for ids": fitted(learning_rate=2e-3, embedding_learning_rate=1e-3, epochs=2),
        "weight decay .1": fitted(weight_decay=0.1),
        "dropout .2": built(dropout=0.2),
        "no crosses": built(crosses="none"),
        "half as wide": half,
        "half as wide, learning rate .002": replace(fitted(learning_rate=2e-3), architecture=half.architecture),
        "a wide part beside it": built(wide=True),
        "no ids of media, authors and topics": replace(
            config, embeddings=replace(config.embeddings, min_occurrences=1_000_000_000)
        ),
    }


def _extras(directory: Path, dataset: Dataset, rows: Rows) -> list[dict[str, Float32]]:
    """Per split the groups of columns [N, C] of its impressions."""
    log = columns.exposures(directory).filter(pl.col("time_ms") < int(TEST_START.timestamp() * 1000))
    static = {
        "all else in the user file": columns.known_of(directory, "user_features_pure", "user_id", log["user_id"]),
        "all else in the video file": columns.known_of(
            directory, "video_features_basic_pure", "video_id", log["video_id"]
        ),
    }
    tag_N, music_N = (columns.video_values(directory, log, name) for name in ("tag", "music_id"))
    found = static | columns.groups(log, tag_N, music_N)
    user_ids = np.array([int(user) for user in EventLog.from_dataset(dataset).user_ids])

    def of(split: RankingSet) -> dict[str, Float32]:
        keys = (user_ids[split.user_N], rows.items.media_id_M[split.row_N] - ID_OFFSET, split.time_ms_N)
        place_N = columns.place_of(log, [pl.Series(key_N) for key_N in keys])
        return {name: group_NC[place_N].astype(np.float32) for name, group_NC in found.items()}

    return [of(split) for split in rows.splits]


def _trees(rows: Rows, extras: list[dict[str, Float32]], seeds: int, progress: Steps) -> dict[str, _Auc]:
    dense = [rows.dense(split) for split in rows.splits]
    groups = {DENSE: (), **{f"+ {name}": (name,) for name in extras[0]}, EVERYTHING: tuple(extras[0])}
    # Trees of one task know nothing of another's, so only those that are judged are grown.
    judged = replace(rows, rerank=replace(rows.rerank, tasks=TASKS_TO_LEAD))
    found = {}
    with progress.step("columns for trees") as report:
        for number, (name, chosen) in enumerate(groups.items()):
            inputs = [
                np.concatenate([dense_NF, *(of_split[group] for group in chosen)], axis=1)
                for dense_NF, of_split in zip(dense, extras, strict=True)
            ]
            found[name] = _auc(judged, np.stack([boosted(inputs, [], judged, seed + 1) for seed in range(seeds)]))
            report(number + 1, len(groups))
    return found


def _networks(rows: Rows, seeds: int, progress: Steps) -> dict[str, _Auc]:
    found = {}
    asked = variants(rows.rerank)
    with progress.step("variants of the deep ranker") as report:
        for number, (name, config) in enumerate(asked.items()):
            changed = replace(rows, rerank=config)
            probability_SNT = np.stack([deep_ranker(changed, seed + 1) for seed in range(seeds)])
            found[name] = _auc(rows, probability_SNT)
            if name == AS_IS:
                found[f"the mean of its {seeds} seeds"] = _auc(rows, probability_SNT.mean(axis=0, keepdims=True))
            report(number + 1, len(asked))
    found["logistic regression instead"] = _auc(rows, logistic_regression(rows, 1)[None])
    return found


def _auc(rows: Rows, probability_SNT: Float32) -> _Auc:
    label_NT, places = rows.labels(rows.test), {task: rows.tasks.index(task) for task in TASKS_TO_LEAD}
    return {
        task: [metrics.auc(label_NT[:, place], probability_NT[:, place]) for probability_NT in probability_SNT]
        for task, place in places.items()
    }


def _mean(found: _Auc, task: str) -> float:
    return float(np.mean(found[task]))


def _table(title: str, found: Mapping[str, _Auc], base: str, figures: Mapping[str, Any]) -> Table:
    rows, seeds = figures["examples"], figures["seeds"]
    about = f"{rows['train']:,} impressions train, {rows['valid']:,} stop, {rows['test']:,} judge; {seeds} seeds"
    table = Table(
        title=f"{title}\n({about}; mean AUC, difference to the first, its range over seeds)", box=box.SIMPLE_HEAD
    )
    table.add_column("")
    for task in TASKS_TO_LEAD:
        table.add_column(task, justify="right")
    for name, of_model in found.items():
        cells = [f"{_mean(of_model, task):.4f}" for task in TASKS_TO_LEAD]
        if name != base:
            leads = (lead(of_model[task], found[base][task]) for task in TASKS_TO_LEAD)
            cells = [cell + _ahead(lead_S) for cell, lead_S in zip(cells, leads, strict=True)]
        table.add_row(name, *cells)
    return table


def lead(auc_S: Sequence[float], base_S: Sequence[float]) -> list[float]:
    """AUC above the base by seed; one model for all seeds is held against their mean."""
    each_S = base_S if len(auc_S) == len(base_S) else [float(np.mean(base_S))] * len(auc_S)
    return [auc - base for auc, base in zip(auc_S, each_S, strict=True)]


def _ahead(lead_S: list[float]) -> str:
    spread = f" [{min(lead_S):+.4f}, {max(lead_S):+.4f}]" if len(lead_S) > 1 else ""
    return f" {np.mean(lead_S):+.4f}{spread}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kuairand_limits", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
