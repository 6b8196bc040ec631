"""From accounts to accounts and media: what accounts post, and what the users who own accounts follow and act on.

Knows the log and who owns what; knows no vectors. Shapes: M media, U accounts, E events, V users, P rows of all lists.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import Action
from features.item_table import UNKNOWN_ROW, ItemTable
from training.columns import places_where
from training.event_log import POSITIVE, EventLog, sorted_rows
from training.sourcing.config import GraphConfig
from training.sourcing.lists import Lists, newest_distinct
from training.sourcing.profiles import user_column

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


def posted(items: ItemTable) -> Lists:
    """Media by account, newest first within one. Equal times keep the higher row first."""
    row_M = np.arange(len(items.media_id_M) - 1, -1, -1)
    row_M = row_M[np.lexsort((-items.created_at_ms_M[row_M], items.author_row_M[row_M]))]
    return Lists.of(items.author_row_M[row_M], row_M, len(items.account_id_U))


def owned_accounts(log: EventLog, users: pl.DataFrame) -> Int32:
    """The account row of every user number, UNKNOWN_ROW for users who own none, or one without media. Shape [V]."""
    account_id_V = user_column(log, users, "account_id").cast(pl.Int64).fill_null(UNKNOWN_ROW)
    return sorted_rows(log.account_id_U, account_id_V.to_numpy().astype(np.int64))


def followed(log: EventLog, owner_V: Int32, as_of_ms: int, config: GraphConfig) -> Lists:
    """Accounts that the owners of every account followed before `as_of_ms`, newest first, the account itself left out."""
    event_E = places_where(lambda of: log.action_E[of] == Action.FOLLOW, 0, log.count_before(as_of_ms))
    owner_E, author_E = owner_V[log.user_E[event_E]], log.author_row_E[event_E]
    counts_E = (owner_E != UNKNOWN_ROW) & (author_E != UNKNOWN_ROW) & (author_E != owner_E)
    owner_P, author_P = newest_distinct(owner_E[counts_E], author_E[counts_E], config.follows)
    return Lists.of(owner_P, author_P, len(log.account_id_U))


def engaged(log: EventLog, owner_V: Int32, as_of_ms: int, config: GraphConfig) -> Lists:
    """Media that the owners of every account acted on positively before `as_of_ms`, newest first."""

    def counts(of: slice) -> NDArray[np.bool_]:
        owned_X = (owner_V[log.user_E[of]] != UNKNOWN_ROW) & (log.media_row_E[of] != UNKNOWN_ROW)
        return owned_X & np.isin(log.action_E[of], POSITIVE)

    event_E = places_where(counts, 0, log.count_before(as_of_ms))
    owner_P, media_P = newest_distinct(owner_V[log.user_E[event_E]], log.media_row_E[event_E], config.engaged)
    return Lists.of(owner_P, media_P, len(log.account_id_U))
