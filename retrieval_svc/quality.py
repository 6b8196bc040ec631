"""How good a media item is before anybody's taste is considered: value per impression, smoothed. Computed once per bundle.

Shapes: M media, U accounts, A action codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.counters import DAY_MS
from features.history import ACTION_WEIGHT
from features.item_table import ItemTable
from features.view import PRIOR_IMPRESSIONS

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FRESHNESS_HALF_LIFE_MS = 7 * DAY_MS
_AT_ONCE = 1 << 16  # rows of counts whose sums stay in the cache

_VALUE_A = np.array([ACTION_WEIGHT.get(Action(a), 0.0) if a else 0.0 for a in range(N_ACTIONS)])


def quality(items: ItemTable, newest_M: Int64) -> Float64:
    """Value per impression x freshness, as the share of media that are no better. Shape [M], in (0, 1]. No two are the same.

    Each level is smoothed towards the one above it (everything, account, media, media lately), so that a new item starts with the
    reputation of its account instead of with nothing. Being a rank it compares with similarities whatever the unit of value is.
    """
    account_U = _smoothed(items.account_counts_UA, base_value(items))
    author_value_M = account_U[items.author_row_M] if len(account_U) else np.empty(0)
    lately_M = _smoothed(items.recent_counts_MA, _smoothed(items.counts_MA, author_value_M))
    age_M = np.maximum(items.as_of_ms - items.created_at_ms_M, 0)
    fresh_M = np.exp2(-age_M / FRESHNESS_HALF_LIFE_MS)
    order_M = best_order(np.maximum(lately_M, 0.0) * fresh_M, newest_M)
    share_M = np.empty(len(order_M))
    share_M[order_M] = 1.0 - np.arange(len(order_M)) / max(len(order_M), 1)
    return share_M


def trending(items: ItemTable) -> Float64:
    """Value per recent impression, smoothed towards the average: what is liked now, not what is shown most. Shape [M]."""
    return _smoothed(items.recent_counts_MA, base_value(items))


def newest_order(items: ItemTable) -> Int64:
    """Media rows, newest first; those of one moment by row. Shape [M]."""
    return best_order(items.created_at_ms_M, np.arange(len(items.created_at_ms_M)))


def best_order(score_M: NDArray[Any], before_M: Int64) -> Int64:
    """Rows by score, highest first and NaN last; equal scores in the order of `before_M`, which holds every row once. Shape [M].

    Numpy sorts numbers far faster than stably or by several keys, so ties are sorted apart, as numbers of their own.
    """
    order_M = np.argsort(-score_M)
    sorted_M, media = score_M[order_M], len(order_M)
    tied_M = (sorted_M[1:] == sorted_M[:-1]) | (np.isnan(sorted_M[1:]) & np.isnan(sorted_M[:-1]))
    place_X = np.flatnonzero(np.append(tied_M, False) | np.insert(tied_M, 0, False))
    if len(place_X):
        rank_M = np.empty(media, dtype=np.int64)
        rank_M[before_M] = np.arange(media)
        tie_M = np.insert(np.cumsum(~tied_M), 0, 0)
        key_X = tie_M[place_X] * media + rank_M[order_M[place_X]]
        key_X.sort()
        order_M[place_X] = before_M[key_X % media]
    return order_M


def base_value(items: ItemTable) -> float:
    """Value of an average impression."""
    return float(items.base_rate_A @ _VALUE_A)


def _smoothed(counts_KA: NDArray[np.float32], prior: Float64 | float) -> Float64:
    parts = [counts_KA[start : start + _AT_ONCE] @ _VALUE_A for start in range(0, len(counts_KA), _AT_ONCE)]
    value_K = np.concatenate(parts) if parts else np.empty(0)
    return (value_K + PRIOR_IMPRESSIONS * prior) / (counts_KA[:, Action.IMPRESSION] + PRIOR_IMPRESSIONS)
