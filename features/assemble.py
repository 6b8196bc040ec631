"""The one function that turns users and candidates into model input. Training, streaming and serving all call it.

Shapes: B users, N candidates of all users, F features of the stage, L history slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from features.dense import NEUTRAL_POSITION
from features.item_features import ITEM_FEATURES, ItemFeatures
from features.item_table import ItemTable
from features.schema import Feature, Scope
from features.view import Users, View

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


def candidate_view(
    contexts: UserContexts,
    items: ItemTable,
    row_N: Int64,
    user_N: Int64,
    position_N: Float32 | None = None,
    item_features: ItemFeatures | None = None,
) -> View:
    """The candidates `row_N` (rows of `items`) of the users `user_N` (0 .. B-1).

    `position_N` is the logged place on the page, which only training knows. Without it every candidate stands at the top of the
    page: serving asks how good an item is, not how visible. With `item_features` those of scope "item" are looked up, not
    computed. Raises ValueError for a row or user outside its range.
    """
    if len(row_N) and (row_N.min() < 0 or row_N.max() >= len(items.media_id_M)):
        raise ValueError(
            f"row_N must lie in 0..{len(items.media_id_M) - 1}; drop unknown media before assembling features"
        )
    if len(user_N) and (user_N.min() < 0 or user_N.max() >= len(contexts)):
        raise ValueError(f"user_N must lie in 0..{len(contexts) - 1}")
    if position_N is None:
        position_N = np.full(len(row_N), NEUTRAL_POSITION, dtype=np.float32)
    return View(Users(contexts, items), row_N, user_N, position_N, item_features)


def assemble(view: View, features: Sequence[Feature]) -> Float32:
    """The dense input [N, F] of `features`, raw (no transform, no normalisation: those live in the model graph), NaN = missing.

    Every feature is computed as rarely as its scope allows: what depends on the user alone once per user.
    """
    plan = _plan(tuple(features))
    matrix_NF = np.empty((len(view.row_N), len(features)), dtype=np.float32)
    if plan.per_user:
        value_BF = _columns(view.users.alone(), [features[column] for column in plan.per_user])
        _place(view.spread(value_BF), plan.user_runs, matrix_NF)
    if view.item_features is not None:
        _place(view.item_features.value_MI[view.row_N], plan.item_runs, matrix_NF)
    else:
        for column in plan.per_item:
            matrix_NF[:, column] = features[column].compute(view)
    for column in plan.per_candidate:
        matrix_NF[:, column] = features[column].compute(view)
    return matrix_NF


@dataclass(frozen=True)
class _Run:
    """Columns that lie side by side in what is looked up and in the matrix."""

    source: slice
    target: slice


@dataclass(frozen=True)
class _Plan:
    """Columns of the matrix by how often they are computed."""

    per_user: tuple[int, ...]
    per_item: tuple[int, ...]
    per_candidate: tuple[int, ...]
    user_runs: tuple[_Run, ...]
    item_runs: tuple[_Run, ...]


@lru_cache(maxsize=64)
def _plan(features: tuple[Feature, ...]) -> _Plan:
    per_user = [n for n, feature in enumerate(features) if feature.scope in {Scope.USER, Scope.REQUEST}]
    per_item = [n for n, feature in enumerate(features) if feature.scope is Scope.ITEM]
    per_candidate = [n for n, feature in enumerate(features) if feature.scope is Scope.CROSS]
    place = {feature: number for number, feature in enumerate(ITEM_FEATURES)}
    looked_up = [place[features[column]] for column in per_item]
    return _Plan(
        tuple(per_user),
        tuple(per_item),
        tuple(per_candidate),
        _runs(range(len(per_user)), per_user),
        _runs(looked_up, per_item),
    )


def _columns(view: View, features: Sequence[Feature]) -> Float32:
    value_BF = np.empty((len(view.row_N), len(features)), dtype=np.float32)
    for column, feature in enumerate(features):
        value_BF[:, column] = feature.compute(view)
    return value_BF


def _runs(sources: Sequence[int], targets: Sequence[int]) -> tuple[_Run, ...]:
    runs: list[_Run] = []
    for source, target in zip(sources, targets, strict=True):
        last = runs[-1] if runs else None
        if last is not None and (last.source.stop, last.target.stop) == (source, target):
            runs[-1] = _Run(slice(last.source.start, source + 1), slice(last.target.start, target + 1))
        else:
            runs.append(_Run(slice(source, source + 1), slice(target, target + 1)))
    return tuple(runs)


def _place(value_NX: Float32, runs: Sequence[_Run], matrix_NF: Float32) -> None:
    for run in runs:
        matrix_NF[:, run.target] = value_NX[:, run.source]
