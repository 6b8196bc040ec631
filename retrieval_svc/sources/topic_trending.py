"""What is trending inside the topics of the user's recent actions: the heavier the topic, the more slots.

Shapes: B users, T topics, G topics of all users, P proposals of all users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.context import UserContexts
from features.history import History
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import NO_SEED, Float64, Proposals, best_first
from retrieval_svc.ragged import Int64, largest_remainder, ranges, rank_within
from retrieval_svc.seeds import topic_weights


@dataclass(frozen=True)
class TopicTrendingSource:
    """Slots by topic weight (largest remainder); the topics' lists are then interleaved in proportion."""

    name: str = "topic_trending"
    max_topics: int = 8

    def propose(self, contexts: UserContexts, history: History, catalogue: Catalogue, want_B: Int64) -> Proposals:
        orders = catalogue.orders
        weight_BT = _heaviest(topic_weights(history, len(catalogue.items.topics)), self.max_topics)
        slots_BT = largest_remainder(want_B, weight_BT)
        user_G, topic_G = np.nonzero(slots_BT)
        slots_G, start_G = slots_BT[user_G, topic_G], orders.topic_offsets[topic_G]
        take_G = np.minimum(slots_G, orders.topic_offsets[topic_G + 1] - start_G)
        group_P = np.repeat(np.arange(len(take_G)), take_G)
        # (place + 1/2) / slots: every topic's list runs evenly from the top of the user's list to its end.
        score_P = 1 - (rank_within(group_P) + 0.5) / slots_G[group_P]
        media_row_P = orders.topic_row[ranges(start_G, take_G)]
        return best_first(user_G[group_P], media_row_P, np.full(len(media_row_P), NO_SEED), score_P, want_B)


def _heaviest(weight_BT: Float64, topics: int) -> Float64:
    """The `topics` largest weights of every row, 0 elsewhere; equal weights: the lower topic number stays."""
    place_BT = np.argsort(np.argsort(-weight_BT, axis=1, kind="stable"), axis=1, kind="stable")
    return np.where(place_BT < topics, weight_BT, 0.0)
