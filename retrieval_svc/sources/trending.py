"""What everybody likes right now. The only source that can deliver the whole catalogue, so a refill never ends early.

Shapes: B users, P proposals of all users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.context import UserContexts
from features.history import History
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import NO_SEED, Proposals
from retrieval_svc.ragged import Int64, offsets_of, ranges


@dataclass(frozen=True)
class TrendingSource:
    """The head of the catalogue in order of value per recent impression."""

    name: str = "trending"

    def propose(self, contexts: UserContexts, history: History, catalogue: Catalogue, want_B: Int64) -> Proposals:
        take_B = np.minimum(want_B, len(catalogue.orders.trending_row_M))
        place_P = ranges(np.zeros_like(take_B), take_B)
        media_row_P = catalogue.orders.trending_row_M[place_P]
        offsets = offsets_of(np.repeat(np.arange(len(take_B)), take_B), len(take_B))
        return Proposals(
            offsets, media_row_P, np.full(len(media_row_P), NO_SEED), catalogue.orders.trending_M[media_row_P]
        )
