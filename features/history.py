"""A batch of action histories as padded matrices joined with the item table, and the user vectors pooled from them.

Shapes: B users, L = HISTORY_LENGTH slots (right-aligned: the last slot is the newest action), D media vector, E account vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.context import HISTORY_LENGTH, UserContexts
from features.counters import DAY_MS
from features.item_table import UNKNOWN_ROW, UNKNOWN_TOPIC, ItemTable

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

TASTE_HALF_LIFE_MS = 3 * DAY_MS
SMALLEST_TASTE = 0.01  # relative to the largest weight; below it float32 no longer tells a direction from rounding

# How much an action says about taste when histories are pooled. Declared, not learned: the learned weights are the rerankers'.
ACTION_WEIGHT = {
    Action.CLICK: 1.0,
    Action.LONG_VIEW: 1.0,
    Action.LIKE: 2.0,
    Action.SAVE: 3.0,
    Action.SHARE: 3.0,
    Action.COMMENT: 2.0,
    Action.FOLLOW: 3.0,
    Action.HIDE: -3.0,
    Action.REPORT: -3.0,
}
_WEIGHT_A = np.zeros(N_ACTIONS, dtype=np.float32)
for _action, _weight in ACTION_WEIGHT.items():
    _WEIGHT_A[_action] = _weight


@dataclass(frozen=True)
class History:
    """Histories of B users. An empty slot has action 0, and row, author and topic unknown."""

    row_BL: Int64  # item table row, UNKNOWN_ROW for empty slots and for media that the table does not hold
    action_BL: NDArray[np.uint8]
    age_ms_BL: Int64  # request time - action time, never negative
    author_BL: Int64
    topic_BL: Int64
    weight_BL: Float32  # action weight x recency, 0 in empty slots, negative for hides and reports

    def media_taste_BD(self, items: ItemTable) -> Float32:
        """Unit vector of the weighted mean of what each user acted on; zero without history. Shape [B, D]."""
        return pooled(items.media_vector_MD, self.row_BL, self.weight_BL)

    def account_taste_BE(self, items: ItemTable) -> Float32:
        """The same over account vectors of the authors. Shape [B, E]."""
        return pooled(items.account_vector_UE, self.author_BL, self.weight_BL)


def join_history(contexts: UserContexts, items: ItemTable) -> History:
    """Right-aligned, padded histories of a batch, joined with the item table."""
    users, length = len(contexts), HISTORY_LENGTH
    count_B = np.minimum(np.diff(contexts.history_offsets), length)
    # Slot numbers count back from the newest action, so that every user's newest one sits in the last column.
    back_L = np.arange(length - 1, -1, -1)
    filled_BL = back_L[None, :] < count_B[:, None]
    source_BL = np.where(filled_BL, contexts.history_offsets[1:, None] - 1 - back_L[None, :], 0)

    def padded(column_H: NDArray[np.integer], empty: int) -> Int64:
        if len(column_H) == 0:
            return np.full((users, length), empty, dtype=np.int64)
        return np.where(filled_BL, column_H[source_BL].astype(np.int64), empty)

    # Only the newest actions are looked up: the deep ranker's contexts hold up to twenty times as many.
    media_id_BL = padded(contexts.history_media_id_H, 0)
    row_BL = np.where(filled_BL, items.rows(media_id_BL.ravel()).reshape(media_id_BL.shape), UNKNOWN_ROW)
    action_BL = padded(contexts.history_action_H, 0)
    time_BL = padded(contexts.history_time_ms_H, 0)
    age_ms_BL = np.where(filled_BL, np.maximum(contexts.request_time_ms_B[:, None] - time_BL, 0), 0)
    known_BL = row_BL != UNKNOWN_ROW
    recency_BL = np.exp2(-age_ms_BL / TASTE_HALF_LIFE_MS).astype(np.float32)
    return History(
        row_BL=row_BL,
        action_BL=action_BL.astype(np.uint8),
        age_ms_BL=age_ms_BL,
        author_BL=_gather(items.author_row_M, row_BL, known_BL, UNKNOWN_ROW),
        topic_BL=_gather(items.topic_M, row_BL, known_BL, UNKNOWN_TOPIC),
        weight_BL=np.where(known_BL, _WEIGHT_A[action_BL] * recency_BL, np.float32(0)),
    )


def _gather(column: NDArray[np.integer], row_BL: Int64, known_BL: NDArray[np.bool_], empty: int) -> Int64:
    if len(column) == 0:
        return np.full(row_BL.shape, empty, dtype=np.int64)
    return np.where(known_BL, column[np.where(known_BL, row_BL, 0)], empty).astype(np.int64)


def pooled(vectors: Float32, row_BL: Int64, weight_BL: Float32) -> Float32:
    """Unit vectors of the weighted sums of `vectors[row_BL]`, negative rows left out; zero where nothing remains. Shape [B, V]."""
    known_BL = row_BL >= 0
    safe_BL = np.where(known_BL, row_BL, 0)
    if len(vectors) == 0:
        return np.zeros((len(row_BL), vectors.shape[1]), dtype=np.float32)
    # Only the proportions of the weights count: after months without an action all of them are tiny.
    largest_B = np.abs(weight_BL).max(axis=1, keepdims=True)
    share_BL = np.where(known_BL, weight_BL, np.float32(0)) / np.where(largest_B > 0, largest_B, np.float32(1))
    summed = np.einsum("bl,bld->bd", share_BL, vectors[safe_BL])
    norm_B = np.linalg.norm(summed, axis=1, keepdims=True)
    # What likes and hides of the same items leave over says nothing about taste.
    return np.where(norm_B > SMALLEST_TASTE, summed / np.maximum(norm_B, SMALLEST_TASTE), 0).astype(np.float32)
