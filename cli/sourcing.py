"""Lends the retrieval service's engine to training, which may not import a service: this is the place where both meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from bundles import layout
from features.context import UserContexts
from features.item_table import ItemTable
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine

Int64 = NDArray[np.int64]


class EngineSourcing:
    """Candidates exactly as retrieval_svc would serve them from the same files."""

    def __init__(self, engine: RetrievalEngine) -> None:
        self._engine = engine

    def __call__(self, contexts: UserContexts, seen_B: Sequence[Int64], count: int) -> tuple[Int64, Int64]:
        """Media ids of all users one after the other, and the offsets of B users."""
        sourced = self._engine.retrieve(contexts, seen_B, np.full(len(contexts), count, dtype=np.int64))
        return sourced.candidates.media_id_N, sourced.candidates.offsets


def open_sourcing(staged: Path) -> EngineSourcing:
    """The engine over sourcing files that were just written, before there is a manifest to verify them against."""
    catalogue = Catalogue.assemble(
        ItemTable.open(staged / layout.ITEMS),
        faiss.read_index(str(staged / layout.ACCOUNT_INDEX)),
        np.load(staged / layout.ACCOUNT_INDEX_ROWS),
        np.load(staged / layout.ACCOUNT_MEDIA_OFFSETS),
        np.load(staged / layout.ACCOUNT_MEDIA_ROWS),
    )
    return EngineSourcing(RetrievalEngine(catalogue, SourcingConfig()))
