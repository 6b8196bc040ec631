"""The long history, searched per candidate: which of a user's older actions have to do with it. Knows tables, no models.

Shapes: B users, N candidates of all users, H history entries of all users, S = RELATED_SLOTS slots (right-aligned: the last slot is
the newest action), M media.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.context import HISTORY_LENGTH, UserContexts
from features.counters import HOUR_MS
from features.item_table import UNKNOWN_ROW, ItemTable

RELATED_SLOTS = 16

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class RelatedActions:
    """The newest older actions of each candidate's user on media of the candidate's category. Empty slots have action 0."""

    row_NS: NDArray[np.int32]  # item table row, UNKNOWN_ROW in empty slots
    action_NS: NDArray[np.uint8]
    age_hours_NS: Float32  # at the time of the request, 0 in empty slots


def related_actions(contexts: UserContexts, items: ItemTable, row_N: Int64, user_N: Int64) -> RelatedActions:
    """The hard search of SIM (Pi et al. 2020, section 3.2): of the actions before the newest HISTORY_LENGTH ones, which every
    stage reads anyway, those on media of the candidate's category.

    The category is the topic; a media item without one stands for its author alone. Cost: one sort of the long histories, then
    two binary searches per candidate, however long a history is.
    """
    older_H = _older(contexts)
    found = _empty(len(row_N))
    if len(older_H) == 0 or len(row_N) == 0:
        return found
    history_row_H = items.rows(contexts.history_media_id_H[older_H])
    known_H = history_row_H != UNKNOWN_ROW
    older_H, history_row_H = older_H[known_H], history_row_H[known_H]
    owner_H = np.searchsorted(contexts.history_offsets, older_H, side="right") - 1
    categories = len(items.topics) + len(items.account_id_U)
    key_H = owner_H * categories + _category(items, history_row_H)
    order_H = np.argsort(key_H, kind="stable")  # by time within a key, as histories are
    key_H, older_H, history_row_H = key_H[order_H], older_H[order_H], history_row_H[order_H]
    key_N = user_N * categories + _category(items, row_N)
    end_N, start_N = np.searchsorted(key_H, key_N, side="right"), np.searchsorted(key_H, key_N)
    source_NS = end_N[:, None] - np.arange(RELATED_SLOTS, 0, -1)[None, :]
    n, s = np.nonzero(source_NS >= start_N[:, None])
    source_X = source_NS[n, s]
    age_ms_X = contexts.request_time_ms_B[user_N[n]] - contexts.history_time_ms_H[older_H[source_X]]
    found.row_NS[n, s] = history_row_H[source_X]
    found.action_NS[n, s] = contexts.history_action_H[older_H[source_X]]
    found.age_hours_NS[n, s] = np.maximum(age_ms_X, 0) / HOUR_MS
    return found


def _older(contexts: UserContexts) -> Int64:
    """Entries of all histories that lie before their newest HISTORY_LENGTH ones."""
    older_B = np.maximum(np.diff(contexts.history_offsets) - HISTORY_LENGTH, 0)
    before_B = np.cumsum(older_B) - older_B
    return np.repeat(contexts.history_offsets[:-1] - before_B, older_B) + np.arange(int(older_B.sum()))


def _category(items: ItemTable, row_X: Int64) -> Int64:
    topic_X = items.topic_M[row_X].astype(np.int64)
    return np.where(topic_X >= 0, topic_X, len(items.topics) + items.author_row_M[row_X].astype(np.int64))


def _empty(n: int) -> RelatedActions:
    shape = (n, RELATED_SLOTS)
    return RelatedActions(
        np.full(shape, UNKNOWN_ROW, dtype=np.int32), np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.float32)
    )
