"""Takedowns on one catalogue: a rule that refuses what is taken down, and indexes that no longer find it.

Shapes: P proposals of all users, M media, U accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.audience import Audience
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.eligibility import Rule
from retrieval_svc.vector_index import VectorIndex
from serving.ragged import Int64
from serving.takedowns import read_takedowns
from serving.watched import WatchedFile

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TakenDown:
    """The media item, or everything of its author, was taken down."""

    media_M: Bool
    account_U: Bool
    reason: str = "taken_down"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        author_row_P = audience.catalogue.items.author_row_M[media_row_P]
        return self.media_M[media_row_P] | self.account_U[author_row_P]


class _Applied:
    """What is taken down on one catalogue, as its file was last read."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._media_rows, self._account_rows = (np.empty(0, dtype=np.int64) for _ in range(2))

    def read(self, path: Path) -> TakenDown | None:
        """Indexes forget what is new in the list and take back what is gone from it. Ids that the bundle lacks have no row."""
        listed, items = read_takedowns(path), self._catalogue.items
        media_rows, account_rows = items.rows(listed.media_ids), items.account_rows(listed.account_ids)
        media_rows, account_rows = media_rows[media_rows >= 0], account_rows[account_rows >= 0]
        _change(self._catalogue.media, items.media_vector_MD, self._media_rows, media_rows)
        _change(self._catalogue.accounts.index, items.account_vector_UE, self._account_rows, account_rows)
        self._media_rows, self._account_rows = media_rows, account_rows
        if len(media_rows) == 0 and len(account_rows) == 0:
            return None
        return TakenDown(_mask(media_rows, len(items.media_id_M)), _mask(account_rows, len(items.account_id_U)))


class CatalogueTakedowns:
    """The takedown file of a service, on one catalogue. Safe to call from several threads."""

    def __init__(self, catalogue: Catalogue, path: Path | None) -> None:
        """Raises TakedownsRefused for a file that is broken from the start."""
        # The file calls what it does not belong to: a cycle would keep the catalogue of a dropped bundle in memory.
        self._file = None if path is None else WatchedFile(path, _Applied(catalogue).read)

    @property
    def refused(self) -> str:
        """Why the file as it is now does not hold; empty if it does."""
        return "" if self._file is None else self._file.refused

    def rules(self) -> tuple[Rule, ...]:
        """The rule of the file as it is now; none while nothing is taken down."""
        rule = None if self._file is None else self._file.value()
        return () if rule is None else (rule,)


def _change(index: VectorIndex, vectors: Float32, before: Int64, now: Int64) -> None:
    back = np.setdiff1d(before, now)
    back = back[vectors[back].any(axis=1)]
    if len(back):
        index.add(back, vectors[back], index.version)
    gone = np.setdiff1d(now, before)
    if len(gone):
        index.remove(gone)


def _mask(rows: Int64, size: int) -> Bool:
    mask = np.zeros(size, dtype=np.bool_)
    mask[rows] = True
    return mask
