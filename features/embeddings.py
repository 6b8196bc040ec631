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


@dataclass(frozen=True)
class ItemEmbeddings:
    """Tables of one model, aligned with the rows of one item table. Row zero-vectors stand for ids that training never saw."""

    media_MK: Float32
    account_UK: Float32
    topic_TK: Float32

    def gather(self, items: ItemTable, row_X: Int64) -> Float32:
        """Concatenated embeddings [*X, K] of media, author and topic; zeros for unknown rows and topics."""
        known_X = row_X >= 0
        safe_X = np.where(known_X, row_X, 0)
        topic_X = items.topic_M[safe_X].astype(np.int64)
        return np.concatenate(
            [
                _masked(self.media_MK, safe_X, known_X),
                _masked(self.account_UK, items.author_row_M[safe_X].astype(np.int64), known_X),
                _masked(self.topic_TK, topic_X, known_X & (topic_X >= 0)),
            ],
            axis=-1,
        )

    def save(self, directory: Path) -> None:
        """Writes media.npy, account.npy and topic.npy into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / "media.npy", self.media_MK, allow_pickle=False)
        np.save(directory / "account.npy", self.account_UK, allow_pickle=False)
        np.save(directory / "topic.npy", self.topic_TK, allow_pickle=False)

    @classmethod
    def open(cls, directory: Path) -> ItemEmbeddings:
        """The tables in `directory`, memory-mapped. Raises OSError or ValueError naming the file."""
        return cls(
            *(
                np.load(directory / name, mmap_mode="r", allow_pickle=False)
                for name in ("media.npy", "account.npy", "topic.npy")
            )
        )


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


def _masked(table: Float32, row_X: Int64, known_X: NDArray[np.bool_]) -> Float32:
    if len(table) == 0:
        return np.zeros((*row_X.shape, table.shape[1]), dtype=np.float32)
    return table[np.where(known_X, row_X, 0)] * known_X[..., None].astype(np.float32)
