"""The features that depend on nothing but the item table, computed when it is published: serving looks them up by row.

Shapes: M media, N candidates, I features of scope "item".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.dense import FEATURES
from features.item_table import ItemTable
from features.schema import Scope
from features.user_state import EMPTY
from features.view import Users, View

Float32 = NDArray[np.float32]

ITEM_FEATURES = tuple(feature for feature in FEATURES if feature.scope is Scope.ITEM)

_FILE = "features_MI.npy"
_AT_ONCE = 1 << 16  # rows computed together, so that publishing a large table needs little memory


@dataclass(frozen=True)
class ItemFeatures:
    """One row per row of the item table, columns as in `ITEM_FEATURES`: a candidate's lie side by side in memory."""

    value_MI: Float32

    @classmethod
    def of(cls, items: ItemTable) -> ItemFeatures:
        """Computed now."""
        value_MI = np.empty((len(items.media_id_M), len(ITEM_FEATURES)), dtype=np.float32)
        nobody = Users(EMPTY.context("", items.as_of_ms, ""), items)
        for start in range(0, len(value_MI), _AT_ONCE):
            row_N = np.arange(start, min(start + _AT_ONCE, len(value_MI)))
            view = View(nobody, row_N, np.zeros_like(row_N), np.full(len(row_N), np.nan, dtype=np.float32))
            for column, feature in enumerate(ITEM_FEATURES):
                value_MI[row_N, column] = feature.compute(view)
        return cls(value_MI)

    def save(self, directory: Path) -> None:
        """Writes one file into the directory of the item table."""
        np.save(directory / _FILE, self.value_MI, allow_pickle=False)

    @classmethod
    def open(cls, directory: Path, items: ItemTable) -> ItemFeatures:
        """Memory-mapped. Raises OSError, or ValueError naming the file, when it does not fit the table beside it."""
        try:
            value_MI = np.asarray(np.load(directory / _FILE, mmap_mode="r", allow_pickle=False))
        except ValueError as error:
            raise ValueError(f"{_FILE}: {error}") from error
        expected = (len(items.media_id_M), len(ITEM_FEATURES))
        if value_MI.shape != expected or value_MI.dtype != np.float32:
            raise ValueError(f"{_FILE} holds {value_MI.dtype} {value_MI.shape}, expected float32 {expected}")
        return cls(value_MI)


def save_items(items: ItemTable, directory: Path) -> None:
    """Writes the table and its features, as a bundle carries both."""
    items.save(directory)
    ItemFeatures.of(items).save(directory)
