""" "In case you missed it": for a user who comes back after a while, the best of what was published meanwhile, above the rest.

A small module at the top of the first page (Twitter 2015). Its items are candidates of the same request like all others: the page
gets no longer, and none of them comes twice. Where nothing fits, there is no module. Knows no stage.

Shapes: N candidates, F items of the module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.item_table import UNKNOWN_ROW, ItemTable
from gateway.diversity import DiversityConfig, select
from gateway.feed import FeedRequest
from gateway.users import FeedUser
from serving.columns import CandidateColumns

MISSED = "missed"  # name of the module in the response

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Absence:
    """The time after a user's last visit up to this one, milliseconds since the epoch, and what was published in it."""

    from_ms: int
    to_ms: int
    items: ItemTable
    size: int  # of the module

    def best(self, columns: CandidateColumns, value_N: Float64, page_size: int, config: DiversityConfig) -> Int64:
        """Rows of the module in order, shape [F]: what was published during the absence, by value, none of which is negative.

        They are chosen by the rule of the page: the best value after the discount for its author and its seed account.
        """
        row_N = self.items.rows(columns.media_id_N)
        known_N = row_N != UNKNOWN_ROW
        created_N = np.full(len(row_N), self.from_ms, dtype=np.int64)  # unknown media fall into no absence
        created_N[known_N] = self.items.created_at_ms_M[row_N[known_N]]
        fitting = np.flatnonzero((created_N > self.from_ms) & (created_N <= self.to_ms) & (value_N >= 0))
        author_N, seed_N = columns.author_id_N[fitting], columns.seed_account_id_N[fitting]
        return fitting[select(value_N[fitting], author_N, seed_N, min(self.size, page_size), config).row_K]


@dataclass(frozen=True)
class Missed:
    """When a page has a module. `after_ms` 0: never."""

    items: ItemTable
    after_ms: int
    size: int

    def absence(self, request: FeedRequest, user: FeedUser) -> Absence | None:
        """The absence that this request ends; None if it was short, on later pages, and for a user without an earlier visit."""
        last_ms = user.last_visit_ms
        if not self.after_ms or request.cursor.next_position or last_ms is None:
            return None
        if request.time_ms - last_ms < self.after_ms:
            return None
        return Absence(last_ms, request.time_ms, self.items, self.size)
