"""What each input of a ranker is worth: the AUC that is lost when the input is made to say nothing about its row.

A feature is permuted over the rows, so that its values stay plausible and only the link to the row is lost; ids become unknown, and
histories empty. The models are not trained again: an input that others can stand in for looks worth less than it taught.

Shapes: N impressions, F dense features of the stage, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.dense import FEATURES
from features.item_table import UNKNOWN_ROW
from features.schema import Scope, Stage, of_stage
from training.bundle_evaluation.judged_log import WindowRows
from training.bundle_evaluation.opened import OpenedBundle
from training.evaluation import labels
from training.metrics import Interval
from training.models.graph_inputs import Inputs, stage_batches
from training.progress import Progress
from training.ranking_set import RankingSet
from training.resampling import Draws, Judge, Judged

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Kind = Literal["feature", "group"]

ROWS = 20_000  # about so many impressions are looked at
RESAMPLES = 300
IDS, HISTORY = "ids of the item", "history sequence"


@dataclass(frozen=True)
class Ablation:
    """The AUC that a stage loses per task without one input or group of inputs. NaN for tasks with one class only."""

    name: str
    kind: Kind
    loss: dict[str, Interval]


def thinned(rows: RankingSet, most: int = ROWS) -> RankingSet:
    """Evenly spread requests with about `most` impressions."""
    return rows.select(slice(None, None, max(1, -(-len(rows) // most))))


def ablate(
    opened: OpenedBundle, stage: Stage, window: WindowRows, progress: Progress | None = None, seed: int = 0
) -> list[Ablation]:
    """Every dense feature of rank or rerank, every scope of features as a group, and for rerank ids and history.

    `window` should hold the `thinned` rows. Intervals are over resampled users, of one permutation each. `progress` gets
    (ablations done, all).
    """
    features, judges = of_stage(FEATURES, stage), _judges(opened.tasks, window.rows)
    batches = list(stage_batches(window.rows, stage, window.items, window.tables))
    base_T = _aucs(judges, opened.run(stage, batches))
    groups = {scope.value: [n for n, f in enumerate(features) if f.scope is scope] for scope in Scope}
    permuted: list[tuple[str, Kind, list[int]]] = [
        *((f"all {name} features", "group", columns) for name, columns in groups.items() if columns),
        *((feature.name, "feature", [number]) for number, feature in enumerate(features)),
    ]
    emptied = _emptied(window.rows) if stage is Stage.RERANK else {}
    total = len(permuted) + len(emptied)
    found: list[Ablation] = []

    def add(name: str, kind: Kind, said_NT: Float32) -> None:
        losses = [base.minus(without) for base, without in zip(base_T, _aucs(judges, said_NT), strict=True)]
        found.append(Ablation(name, kind, dict(zip(opened.tasks, losses, strict=True))))
        if progress is not None:
            progress(len(found), total)

    for name, rows in emptied.items():
        add(name, "group", opened.run(stage, stage_batches(rows, stage, window.items, window.tables)))
    for number, (name, kind, columns) in enumerate(permuted):
        order_N = np.random.default_rng((seed, number)).permutation(len(window.rows))
        add(name, kind, opened.run(stage, _permuted(batches, columns, order_N)))
    return found


def _emptied(rows: RankingSet) -> dict[str, RankingSet]:
    """The rows without ids, and without histories."""
    unknown_BL = np.full_like(rows.history_row_BL, UNKNOWN_ROW)
    nothing_BL = np.zeros_like(rows.history_action_BL)
    never_BL = np.zeros_like(rows.history_age_ms_BL)
    return {
        IDS: replace(rows, row_N=np.full_like(rows.row_N, UNKNOWN_ROW)),
        HISTORY: replace(
            rows,
            history_row_BL=unknown_BL,
            history_action_BL=nothing_BL,
            history_age_ms_BL=never_BL,
            related_row_NS=np.full_like(rows.related_row_NS, UNKNOWN_ROW),
            related_action_NS=np.zeros_like(rows.related_action_NS),
            related_age_hours_NS=np.zeros_like(rows.related_age_hours_NS),
        ),
    }


def _permuted(batches: Sequence[Inputs], columns: list[int], order_N: Int64) -> Iterator[Inputs]:
    """The same batches, some dense columns of which belong to other rows: together, so that they still fit each other."""
    whole_NX = np.concatenate([batch["dense_NF"][:, columns] for batch in batches])[order_N]
    start = 0
    for batch in batches:
        dense_NF = batch["dense_NF"].copy()
        dense_NF[:, columns] = whole_NX[start : start + len(dense_NF)]
        start += len(dense_NF)
        yield {**batch, "dense_NF": dense_NF}


def _judges(tasks: tuple[str, ...], rows: RankingSet) -> list[Judge]:
    draws = Draws(rows.user_N, RESAMPLES)
    return [Judge(label_N, draws) for label_N in labels(rows, tasks).T]


def _aucs(judges: list[Judge], said_NT: Float32) -> list[Judged]:
    return [judge.auc_at_once(said_N[None]) for judge, said_N in zip(judges, said_NT.T, strict=True)]
