"""From what the sources propose to one list per user: shares by weight, shares that others fill, and an order.

Knows users, sources and media rows as numbers only.
Shapes: B users, S sources (in order of weight, heaviest first), P proposals of all users, N mixed candidates of all users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.columns import Float64
from retrieval_svc.ragged import Int64, largest_remainder, rank_within

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Mix:
    """`row_N` are rows of the proposals, best first within a user; the masks say what became of the others."""

    row_N: Int64
    score_N: NDArray[np.float32]  # in (0, 1), never rising within a user
    duplicate_P: Bool
    over_quota_P: Bool


def mix(user_P: Int64, source_P: Int64, media_row_P: Int64, count_B: Int64, weight_S: Float64) -> Mix:
    """Up to `count_B` distinct media per user. Proposals are grouped by user, then source, best first within a source.

    A media item that several sources propose belongs to the one whose turn would come first (place / weight). Sources get shares by
    weight (largest remainder); what a source cannot fill, the others share by weight in turn. In the list, the candidates of every
    source are spread evenly from top to end: place k of n scores 1 - (k + 1/2) / n, equal scores go to the heavier source.
    """
    users, sources = len(count_B), len(weight_S)
    group_P = user_P * sources + source_P
    duplicate_P = _later_claims(user_P, source_P, media_row_P, rank_within(group_P) / weight_S[source_P])
    row_Q = np.flatnonzero(~duplicate_P)
    place_Q = rank_within(group_P[row_Q])
    available_BS = np.bincount(group_P[row_Q], minlength=users * sources).reshape(users, sources)
    take_G = shares(count_B, weight_S, available_BS).ravel()
    taken_Q = place_Q < take_G[group_P[row_Q]]
    row_N, depth_N = row_Q[taken_Q], (place_Q[taken_Q] + 0.5) / take_G[group_P[row_Q[taken_Q]]]
    order_N = np.lexsort((source_P[row_N], depth_N, user_P[row_N]))
    over_quota_P = np.zeros(len(user_P), dtype=np.bool_)
    over_quota_P[row_Q[~taken_Q]] = True
    return Mix(row_N[order_N], (1 - depth_N[order_N]).astype(np.float32), duplicate_P, over_quota_P)


def shares(count_B: Int64, weight_S: Float64, available_BS: Int64) -> Int64:
    """How many candidates each source gives [B, S]: by weight, never more than available, the rest shared out again by weight."""
    take_BS = np.zeros_like(available_BS)
    for _ in range(len(weight_S)):  # every turn either deals everything out or empties a source
        missing_B = count_B - take_BS.sum(axis=1)
        can_give_BS = available_BS > take_BS
        if not np.any((missing_B > 0) & can_give_BS.any(axis=1)):
            break
        take_BS = np.minimum(take_BS + largest_remainder(missing_B, weight_S * can_give_BS), available_BS)
    return take_BS


def _later_claims(user_P: Int64, source_P: Int64, media_row_P: Int64, turn_P: Float64) -> Bool:
    """All but the first claim on each user's media item, by turn, then by source."""
    order_P = np.lexsort((source_P, turn_P, media_row_P, user_P))
    repeats = (np.diff(media_row_P[order_P]) == 0) & (np.diff(user_P[order_P]) == 0)
    later_P = np.zeros(len(user_P), dtype=np.bool_)
    later_P[order_P[1:][repeats]] = True
    return later_P
