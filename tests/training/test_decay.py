"""Decayed counts of whole logs, against the same sums added up event by event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.recency import USER_HALF_LIVES_MS
from training import decay
from training.columns import Scratch
from training.decay import decayed_sums

GAPS = st.sampled_from([0, 1, 60_000, 3_600_000, 86_400_000, 10**12])
USERS = st.lists(st.lists(GAPS, max_size=9), max_size=5)


def one_by_one(user_K: list[int], time_ms_K: list[int]) -> np.ndarray:
    sums_WK = np.zeros((len(USER_HALF_LIVES_MS), len(user_K)))
    for k, (user, time_ms) in enumerate(zip(user_K, time_ms_K, strict=True)):
        for other in range(k + 1):
            if user_K[other] == user:
                for window, half_life_ms in enumerate(USER_HALF_LIVES_MS):
                    sums_WK[window, k] += 0.5 ** ((time_ms - time_ms_K[other]) / half_life_ms)
    return sums_WK


@pytest.mark.parametrize("at_once", [2, 1000])
@given(users=USERS)
def test_all_sums_at_once_are_the_sums_one_by_one(at_once: int, users: list[list[int]]) -> None:
    user_K = [user for user, gaps in enumerate(users) for _ in gaps]
    time_ms_K = [int(time) for gaps in users for time in np.cumsum(gaps)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decay, "CHUNK", at_once)
        found_WK = decayed_sums(np.array(user_K, np.int32), np.array(time_ms_K, np.int64), Scratch())
    np.testing.assert_allclose(found_WK, one_by_one(user_K, time_ms_K), rtol=1e-9, atol=1e-12)


def test_a_user_with_very_many_events_stays_exact() -> None:
    """One event per minute for ever: a geometric series."""
    events = 100_000
    found_WK = decayed_sums(np.zeros(events, np.int32), np.arange(events, dtype=np.int64) * 60_000, Scratch())
    for window, half_life_ms in enumerate(USER_HALF_LIVES_MS):
        assert found_WK[window, -1] == pytest.approx(1 / (1 - 0.5 ** (60_000 / half_life_ms)), rel=1e-9)
