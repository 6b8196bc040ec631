"""Would a smaller or a split graph serve better? Variants of the exported rankers: what they cost, and what their AUC loses.

`python -m benchmarks.exports [DIR] [--quick]`, where DIR holds KuaiRand-Pure's own CSV files; without it a simulated world. The
light and the deep ranker are trained once and exported as in a bundle. Then, on the test impressions: 8-bit weights and activations
(dynamic quantisation), embedding tables in bfloat16, and the light ranker with the item side of its first layer computed at
publish time (benchmarks/first_layer.py). Latencies are those of one page, variants in turn, on one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from rich import box
from rich.table import Table

from benchmarks.first_layer import ItemSide, export_request_side, halves, item_sides
from benchmarks.kuairand import TEST_END, slice_recipe, until
from benchmarks.models_rows import Rows, make_rows
from benchmarks.report import TABLES, Check, Result, at_most, command_line, finish
from cli.progress import Steps, steps
from features.assemble import assemble, candidate_view
from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH, UserContexts
from features.dense import FEATURES
from features.embeddings import ItemEmbeddings, sparse_input
from features.item_table import ItemTable
from features.schema import Feature, Stage, of_stage
from serving.onnx_session import open_session
from training import export, rankers
from training.contexts import ContextLog
from training.datasets import Dataset, simulate
from training.datasets.kuairand import import_kuairand
from training.event_log import EventLog
from training.models.graph_inputs import stage_batches
from training.pipeline import plain
from training.progress import Progress
from training.rankers import TrainedRank, TrainedRerank
from training.recipes import RECIPES, Recipe
from training.resampling import Draws, Judge

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

PAGE = {Stage.RANK: 150, Stage.RERANK: 50}  # candidates that a page brings to each stage
RESAMPLES = 300
_USERS = 20  # whose pages are timed
_EXACT = 1e-5  # of a probability: the halves add the same numbers in another order


@dataclass(frozen=True)
class Trained:
    """One world and both rankers on it."""

    rows: Rows
    contexts: ContextLog
    light: TrainedRank
    deep: TrainedRerank
    as_of_ms: int


@dataclass(frozen=True)
class Variant:
    """One way to serve a ranker: predictions for the test rows, bytes on disk, milliseconds of one page."""

    stage: Stage
    name: str
    probability_NT: Float32
    size: int
    page: Callable[[int], None]  # answers a page of the user with that number


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-exports-") as scratch, steps() as progress:
        trained = _trained(arguments, Path(scratch), progress)
        with progress.step("variants"):
            variants = [*_light(trained, Path(scratch)), *_deep(trained, Path(scratch))]
        with progress.step("pages") as report:
            ms = _timed(variants, 20 if arguments.quick else 200, report)
        with progress.step("AUC with intervals"):
            found = [_judged(trained, variants, variant, ms[number]) for number, variant in enumerate(variants)]
    split = next(variant for variant in variants if variant.name == "split")
    whole = next(variant for variant in variants if variant.stage is Stage.RANK)
    gap = float(np.abs(split.probability_NT - whole.probability_NT).max())
    checks: list[Check] = [at_most("largest difference of the split light ranker", gap, _EXACT)]
    figures = {"variants": found, "split_difference": gap, "test_impressions": len(trained.rows.test)}
    name = "exports_quick" if arguments.quick else "exports"
    result = Result(name, command_line("benchmarks.exports"), plain(figures), checks, [_table(found)])
    return finish(result, tables=None if arguments.quick else TABLES)


def _trained(arguments: argparse.Namespace, scratch: Path, progress: Steps) -> Trained:
    with progress.step("data set"):
        dataset, recipe = _world(arguments, scratch)
    rows = make_rows(recipe, dataset, progress)
    with progress.step("deep ranker") as report:
        deep = rankers.train_rerank(recipe.rerank, rows.train, rows.valid, rows.items, report)
    with progress.step("light ranker") as report:
        light = rankers.train_rank(recipe.rank, rows.train, rows.valid, deep, report)
    return Trained(rows, ContextLog(EventLog.from_dataset(dataset), dataset.users), light, deep, dataset.as_of_ms)


def _world(arguments: argparse.Namespace, scratch: Path) -> tuple[Dataset, Recipe]:
    if arguments.directory is not None:
        dataset = until(import_kuairand(arguments.directory, scratch / "data"), TEST_END)
        return dataset, slice_recipe(dataset).seeded(1)
    config = simulate.tiny() if arguments.quick else simulate.default()
    return simulate.simulate(config, scratch / "data"), RECIPES["tiny" if arguments.quick else "default"]().seeded(1)


def _light(trained: Trained, scratch: Path) -> Sequence[Variant]:
    rows, stage = trained.rows, Stage.RANK
    whole, halved = scratch / "rank.onnx", scratch / "rank_split.onnx"
    export.export_rank(trained.light, rows.valid, whole)
    export_request_side(trained.light, halved)
    item_MH = item_sides(trained.light, rows.items)
    features, session = halves().request, open_session(halved)
    dense_NF = rows.dense(rows.test)
    item_NF, request_NG = (dense_NF[:, _columns(side)] for side in (halves().item, halves().request))

    def split_page(user: int) -> None:
        view = candidate_view(*_page(trained, user, stage))
        session.run(None, {"dense_NG": assemble(view, features), "item_NH": item_MH[view.row_N]})

    # A test row is older than the item table: its item side comes from the features as they were then.
    with torch.inference_mode():
        side_NH = ItemSide(trained.light)(torch.from_numpy(item_NF)).numpy()
    split_NT = session.run(None, {"dense_NG": request_NG, "item_NH": side_NH})[0]
    return [
        _dense(trained, "float32", whole),
        _dense(trained, "int8", _quantised(whole)),
        Variant(stage, "split", split_NT, halved.stat().st_size + item_MH.nbytes, split_page),
    ]


def _dense(trained: Trained, name: str, path: Path) -> Variant:
    session, features = open_session(path), of_stage(FEATURES, Stage.RANK)

    def page(user: int) -> None:
        view = candidate_view(*_page(trained, user, Stage.RANK))
        session.run(None, {"dense_NF": assemble(view, features)})

    found_NT = session.run(None, {"dense_NF": trained.rows.dense(trained.rows.test)})[0]
    return Variant(Stage.RANK, name, found_NT, path.stat().st_size, page)


def _deep(trained: Trained, scratch: Path) -> Sequence[Variant]:
    path, tables = scratch / "rerank.onnx", trained.deep.embeddings.tables()
    export.export_rerank(trained.deep, trained.rows.items, trained.rows.valid, path)
    short = ItemEmbeddings(
        *(_bfloat16(table) for table in (tables.media_MK, tables.account_UK, tables.topic_TK, tables.unknown_K))
    )
    return [
        _sequences(trained, "float32", path, tables, 4),
        _sequences(trained, "int8", _quantised(path), tables, 4),
        _sequences(trained, "bfloat16 tables", path, short, 2),
    ]


def _sequences(trained: Trained, name: str, path: Path, tables: ItemEmbeddings, width: int) -> Variant:
    """A deep graph on some tables whose entries take `width` bytes on disk."""
    session, features, items = open_session(path), of_stage(FEATURES, Stage.RERANK), trained.rows.items

    def page(user: int) -> None:
        view = candidate_view(*_page(trained, user, Stage.RERANK))
        session.run(
            None, {"dense_NF": assemble(view, features), "user_N": view.user_N, **vars(sparse_input(view, tables))}
        )

    batches = stage_batches(trained.rows.test, Stage.RERANK, items, tables)
    found_NT = np.concatenate([session.run(None, dict(batch))[0] for batch in batches])
    entries = tables.media_MK.size + tables.account_UK.size + tables.topic_TK.size
    return Variant(Stage.RERANK, name, found_NT, path.stat().st_size + width * entries, page)


def _page(trained: Trained, user: int, stage: Stage) -> tuple[UserContexts, ItemTable, Int64, Int64]:
    """A user at the end of the log, and as many random candidates as reach the stage."""
    long = LONG_HISTORY_LENGTH if stage is Stage.RERANK else HISTORY_LENGTH
    context = trained.contexts.at(np.array([user]), np.array([trained.as_of_ms]), [""], long)
    random = np.random.default_rng(user)
    row_N = random.integers(0, len(trained.rows.items.media_id_M), PAGE[stage])
    return context, trained.rows.items, row_N, np.zeros(PAGE[stage], dtype=np.int64)


def _quantised(path: Path) -> Path:
    """The graph with 8-bit weights, and activations that are cut to 8 bits as they come."""
    smaller, model = path.with_suffix(".int8.onnx"), onnx.load(path)
    # Shapes noted between nodes are those before the exporter folded constants: quantisation finds them out again.
    model.graph.ClearField("value_info")
    quantize_dynamic(model, smaller, weight_type=QuantType.QInt8)
    return smaller


def _bfloat16(table: Float32) -> Float32:
    """The nearest numbers with 8 bits of mantissa; how they are kept on disk changes nothing about what a graph reads."""
    short: Float32 = torch.from_numpy(np.ascontiguousarray(table)).bfloat16().float().numpy()
    return short


def _timed(variants: Sequence[Variant], repeats: int, report: Progress) -> list[dict[str, float]]:
    """Milliseconds of one page: median, least and most over repeats that take all variants in turn."""
    ms_VR = np.empty((len(variants), repeats))
    for repeat in range(-1, repeats):  # the first round only warms up
        for number, variant in enumerate(variants):
            started = time.perf_counter()
            variant.page(repeat % _USERS)
            ms_VR[number, repeat] = 1000 * (time.perf_counter() - started)
        report(repeat + 1, repeats)
    return [{"median": float(np.median(ms_R)), "min": float(ms_R.min()), "max": float(ms_R.max())} for ms_R in ms_VR]


def _judged(trained: Trained, variants: Sequence[Variant], variant: Variant, ms: Mapping[str, float]) -> dict[str, Any]:
    """AUC per task, and how much less than that of the graph as exported, with intervals over users."""
    whole = next(other for other in variants if other.stage is variant.stage)
    label_NT, draws = trained.rows.labels(trained.rows.test), Draws(trained.rows.test.user_N, RESAMPLES)
    tasks = {}
    for number, task in enumerate(trained.rows.tasks):
        judge = Judge(np.ascontiguousarray(label_NT[:, number]), draws)
        mine, other = (
            judge.auc(np.ascontiguousarray(each.probability_NT[None, :, number])) for each in (variant, whole)
        )
        tasks[task] = {"auc": mine.mean, "lost": asdict(other.minus(mine))}
    return {
        "stage": variant.stage,
        "variant": variant.name,
        "mb": variant.size / 1e6,
        "page_ms": dict(ms),
        "tasks": tasks,
    }


def _table(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="One page: 150 candidates of rank, 50 of rerank, features included", box=box.SIMPLE_HEAD)
    for column in ("stage", "variant", "MB", "ms (median)", "min", "AUC lost, worst task", "mean AUC lost"):
        table.add_column(column, justify="left" if column in ("stage", "variant") else "right")
    for row in found:
        lost = {task: values["lost"]["mean"] for task, values in row["tasks"].items()}
        worst = max(lost, key=lambda task: lost[task])
        ms = row["page_ms"]
        table.add_row(
            row["stage"],
            row["variant"],
            f"{row['mb']:.2f}",
            f"{ms['median']:.2f}",
            f"{ms['min']:.2f}",
            f"{lost[worst]:+.4f} {worst}",
            f"{np.mean(list(lost.values())):+.4f}",
        )
    return table


def _columns(features: Sequence[Feature]) -> list[int]:
    every = of_stage(FEATURES, Stage.RANK)
    return [every.index(feature) for feature in features]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="KuaiRand-Pure's own CSV files")
    parser.add_argument("--quick", action="store_true", help="a tiny world, few repeats")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
