"""The protocol of a source."""

from __future__ import annotations

from typing import Protocol

from features.context import UserContexts
from features.history import History
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import Proposals
from retrieval_svc.ragged import Int64


class Source(Protocol):
    """Proposes media. Knows nothing of what the user has seen, of integrity or of other sources: rules and mixing come later."""

    @property
    def name(self) -> str: ...

    def propose(self, contexts: UserContexts, history: History, catalogue: Catalogue, want_B: Int64) -> Proposals:
        """At most `want_B` distinct media per user, best first, the same for a user whoever else is in the batch.

        `history` is joined with `catalogue.items`. A user who wants 0 gets nothing. Fewer than wanted means there is no more.
        """
        ...
