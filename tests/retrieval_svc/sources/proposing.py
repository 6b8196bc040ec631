"""Asks one source for one user's media."""

from __future__ import annotations

import numpy as np

from features.context import UserContexts
from features.history import join_history
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import Proposals
from retrieval_svc.sources import Source


def propose(source: Source, catalogue: Catalogue, contexts: UserContexts, want: int = 100) -> Proposals:
    """What `source` proposes when every user wants `want`."""
    want_B = np.full(len(contexts), want)
    return source.propose(contexts, join_history(contexts, catalogue.items), catalogue, want_B)


def proposed(found: Proposals, catalogue: Catalogue) -> list[int]:
    """The media ids of all users."""
    return catalogue.items.media_id_M[found.media_row_P].tolist()
