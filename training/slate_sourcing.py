"""Slates of real candidates: fetches them for a sample of users and computes what serving would know of them.

Candidates come from whoever calls: sourcing is a service's business, and training imports no service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH, UserContexts, newest
from features.item_table import ItemTable
from training.columns import chunks
from training.contexts import ContextLog
from training.event_log import EventLog
from training.progress import Progress
from training.slates import Slates, join, slates_of

Int64 = NDArray[np.int64]

_AT_ONCE = 128  # users whose candidates are fetched and computed together


class Sourcing(Protocol):
    """Fetches candidates: media ids of all users one after the other, and the offsets of B users."""

    def __call__(self, contexts: UserContexts, seen_B: Sequence[Int64], count: int) -> tuple[Int64, Int64]: ...


def sample_of_users(log: EventLog, count: int, seed: int) -> Int64:
    """Numbers of at most `count` users with events, in rising order."""
    acted_V = np.zeros(len(log.user_ids), dtype=np.bool_)
    for of in chunks(0, len(log)):
        acted_V[log.user_E[of]] = True
    active = np.flatnonzero(acted_V)
    random = np.random.default_rng(seed)
    return np.sort(random.choice(active, size=min(count, len(active)), replace=False))


def sourced_slates(
    contexts: ContextLog,
    items: ItemTable,
    sourcing: Sourcing,
    users: Int64,
    *,
    time_ms: int,
    size: int,
    progress: Progress,
) -> Slates:
    """The candidates of `users` at `time_ms`, at most `size` each. `progress` gets (users done, all).

    Raises ValueError without users, and for candidates that `items` does not hold.
    """
    parts: list[Slates] = []
    for start in range(0, len(users), _AT_ONCE):
        user_B = users[start : start + _AT_ONCE]
        times_B, surfaces = np.full(len(user_B), time_ms, dtype=np.int64), [""] * len(user_B)
        batch = contexts.at(user_B, times_B, surfaces, LONG_HISTORY_LENGTH)
        seen_B = [contexts.seen(int(user), time_ms) for user in user_B]
        media_id_N, offsets = sourcing(newest(batch, HISTORY_LENGTH), seen_B, size)
        row_N, user_N = items.rows(media_id_N), np.repeat(np.arange(len(user_B)), np.diff(offsets))
        parts.append(slates_of(batch, items, row_N, user_N))
        progress(min(start + _AT_ONCE, len(users)), len(users))
    return join(parts)
