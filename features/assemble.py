"""The one function that turns users and candidates into model input. Training, streaming and serving all call it.

Shapes: B users, N candidates of all users, F features of the stage, L history slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from features.dense import NEUTRAL_POSITION
from features.item_table import ItemTable
from features.schema import Feature
from features.view import View

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


def candidate_view(
    contexts: UserContexts, items: ItemTable, row_N: Int64, user_N: Int64, position_N: Float32 | None = None
) -> View:
    """The candidates `row_N` (rows of `items`) of the users `user_N` (0 .. B-1).

    `position_N` is the logged place on the page, which only training knows. Without it every candidate stands at the top of the
    page: serving asks how good an item is, not how visible. Raises ValueError for a row or user outside its range.
    """
    if len(row_N) and (row_N.min() < 0 or row_N.max() >= len(items.media_id_M)):
        raise ValueError(
            f"row_N must lie in 0..{len(items.media_id_M) - 1}; drop unknown media before assembling features"
        )
    if len(user_N) and (user_N.min() < 0 or user_N.max() >= len(contexts)):
        raise ValueError(f"user_N must lie in 0..{len(contexts) - 1}")
    if position_N is None:
        position_N = np.full(len(row_N), NEUTRAL_POSITION, dtype=np.float32)
    return View(contexts, items, row_N, user_N, position_N)


def assemble(view: View, features: Sequence[Feature]) -> Float32:
    """The dense input [N, F] of `features`, raw (no transform, no normalisation: those live in the model graph), NaN = missing."""
    matrix_NF = np.empty((len(view.row_N), len(features)), dtype=np.float32)
    for column, feature in enumerate(features):
        matrix_NF[:, column] = feature.compute(view)
    return matrix_NF
