"""Slates of sourced candidates: everyone's own, in order, however many users are asked at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from tests.training.logs import planted, table_of
from training.contexts import ContextLog
from training.event_log import EventLog
from training.slate_sourcing import sample_of_users, sourced_slates

WORLD = planted(users=150)
LOG = EventLog.from_dataset(WORLD)
ITEMS = table_of(WORLD)


def first_unseen(
    contexts: UserContexts, seen_B: Sequence[NDArray[np.int64]], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found = [np.setdiff1d(ITEMS.media_id_M, seen_S)[:count] for seen_S in seen_B]
    return np.concatenate(found), np.cumsum([0, *map(len, found)])


def test_users_get_their_own_candidates_over_all_batches() -> None:
    contexts, users = ContextLog(LOG, WORLD.users), np.arange(140)
    reported: list[tuple[int, int]] = []
    slates = sourced_slates(
        contexts,
        ITEMS,
        first_unseen,
        users,
        time_ms=WORLD.as_of_ms,
        size=9,
        progress=lambda done, total: reported.append((done, total)),
    )
    assert (len(slates), reported) == (140, [(128, 140), (140, 140)])
    for slate in (0, 127, 128, 139):
        seen = contexts.seen(slate, WORLD.as_of_ms)
        row_S = slates.row_N[slates.offsets[slate] : slates.offsets[slate + 1]]
        assert np.array_equal(ITEMS.media_id_M[row_S], np.setdiff1d(ITEMS.media_id_M, seen)[:9])


def test_a_sample_is_of_different_users_in_order_and_the_seeds_own() -> None:
    sample = sample_of_users(LOG, 20, seed=4)
    assert len(sample) == 20
    assert (np.diff(sample) > 0).all()
    assert np.array_equal(sample, sample_of_users(LOG, 20, seed=4))
    assert not np.array_equal(sample, sample_of_users(LOG, 20, seed=5))
    assert np.array_equal(sample_of_users(LOG, 10_000, seed=4), np.unique(LOG.user_E))
