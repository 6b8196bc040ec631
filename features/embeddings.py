"""Id embeddings that lie outside the model graph as memory-mapped tables, and the sequence input that is gathered from them.

Shapes: M media, U accounts, T topics, B users, N candidates, L history slots, S related slots, K = total width of one item's
embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.counters import HOUR_MS
from features.item_table import ItemTable
from features.view import View

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


_TABLES = ("media.npy", "account.npy", "topic.npy")
_UNKNOWN = "unknown.npy"


@dataclass(frozen=True)
class ItemEmbeddings:
    """Tables of one model, aligned with the rows of one item table, and what it learned to make of an unknown item.

    Rows of ids that training hardly saw hold their part of `unknown_K`: media, then account, then topic.
    """

    media_MK: Float32
    account_UK: Float32
    topic_TK: Float32
    unknown_K: Float32

    def gather(self, items: ItemTable, row_X: Int64) -> Float32:
        """Concatenated embeddings [*X, K] of media, author and topic; `unknown_K`, or its part, for unknown rows and topics."""
        known_X = row_X >= 0
        safe_X = np.where(known_X, row_X, 0)
        author_X, topic_X = (column_M[safe_X].astype(np.int64) for column_M in (items.author_row_M, items.topic_M))
        found_XK = np.empty((*row_X.shape, len(self.unknown_K)), dtype=np.float32)
        end = 0
        for table_IK, id_X in ((self.media_MK, row_X), (self.account_UK, author_X), (self.topic_TK, topic_X)):
            start, end = end, end + table_IK.shape[1]
            _read(table_IK, np.where(known_X, id_X, -1), self.unknown_K[start:end], found_XK[..., start:end])
        return found_XK

    def save(self, directory: Path) -> None:
        """Writes media.npy, account.npy, topic.npy and unknown.npy into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        tables = (self.media_MK, self.account_UK, self.topic_TK, self.unknown_K)
        for name, table in zip((*_TABLES, _UNKNOWN), tables, strict=True):
            np.save(directory / name, table, allow_pickle=False)

    @classmethod
    def open(cls, directory: Path) -> ItemEmbeddings:
        """The tables in `directory`, memory-mapped. Raises OSError or ValueError naming the file.

        Models from before `unknown.npy` was written read zeros for unknown items, as they did in training.
        """
        media_MK, account_UK, topic_TK = (_table(directory / name) for name in _TABLES)
        width = sum(table.shape[1] for table in (media_MK, account_UK, topic_TK))
        if not (directory / _UNKNOWN).exists():
            return cls(media_MK, account_UK, topic_TK, np.zeros(width, dtype=np.float32))
        unknown_K = np.load(directory / _UNKNOWN, allow_pickle=False)
        if unknown_K.shape != (width,):
            raise ValueError(
                f"{_UNKNOWN} has shape {unknown_K.shape}, expected ({width},), the widths of the tables together"
            )
        return cls(media_MK, account_UK, topic_TK, unknown_K)


@dataclass(frozen=True)
class SparseInput:
    """What the deep ranker reads besides its dense features."""

    item_NK: Float32
    history_BLK: Float32
    history_action_BL: Int64  # action code, 0 = empty slot
    history_age_BL: Float32  # log(1 + hours)
    related_NSK: Float32  # older actions on media of the candidate's category
    related_action_NS: Int64
    related_age_NS: Float32


def sparse_input(view: View, embeddings: ItemEmbeddings) -> SparseInput:
    """Embeddings of the candidates and of their users' histories. A history is gathered once per user, not per candidate."""
    history, related = view.history, view.related
    return SparseInput(
        item_NK=embeddings.gather(view.items, view.row_N),
        history_BLK=embeddings.gather(view.items, history.row_BL),
        history_action_BL=history.action_BL.astype(np.int64),
        history_age_BL=np.log1p(history.age_ms_BL / HOUR_MS).astype(np.float32),
        related_NSK=embeddings.gather(view.items, related.row_NS.astype(np.int64)),
        related_action_NS=related.action_NS.astype(np.int64),
        related_age_NS=np.log1p(related.age_hours_NS),
    )


def _table(path: Path) -> Float32:
    table_IK: Float32 = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if table_IK.ndim != 2:
        raise ValueError(f"{path.name} has shape {table_IK.shape}, expected rows of vectors")
    return table_IK


def _read(table_IK: Float32, id_X: Int64, unknown_K: Float32, into_XK: Float32) -> None:
    """Rows of a table into `into_XK`; `unknown_K` for id -1."""
    known_X = id_X >= 0
    if known_X.any():
        into_XK[...] = table_IK[np.maximum(id_X, 0)]
    into_XK[~known_X] = unknown_K
