from __future__ import annotations

import numpy as np
import pytest

from features.actions import N_ACTIONS, Action
from retrieval_svc.quality import base_value, best_order, quality, trending
from tests.retrieval_svc.worlds import hand_made, random_items


def test_the_value_of_an_impression_counts_actions_by_weight() -> None:
    items = hand_made()
    items.base_rate_A[:] = np.zeros(N_ACTIONS)
    items.base_rate_A[[Action.CLICK, Action.SAVE, Action.HIDE]] = [0.2, 0.1, 0.05]
    assert base_value(items) == pytest.approx(0.2 * 1 + 0.1 * 3 - 0.05 * 3)


def test_trending_is_a_rate_and_not_a_count() -> None:
    items = hand_made()
    items.recent_counts_MA[0] *= 1000  # far more views and clicks, at the same, worst rate
    assert best_order(items, trending(items))[-1] == 0
    assert items.media_id_M[best_order(items, trending(items))][:4].tolist() == [402, 302, 202, 102]


def test_what_nobody_saw_lately_is_average() -> None:
    items = hand_made()
    items.recent_counts_MA[5] = 0
    assert trending(items)[5] == pytest.approx(base_value(items))


def test_quality_is_a_rank_between_zero_and_one() -> None:
    assert sorted(quality(random_items(1))) == pytest.approx(np.arange(1, 301) / 300)


def test_of_two_equal_media_the_newer_is_better() -> None:
    items = hand_made()
    items.recent_counts_MA[:] = items.counts_MA[:] = items.counts_MA[0]
    items.account_counts_UA[:] = items.account_counts_UA[0]
    best_first = items.media_id_M[np.argsort(-quality(items))]
    assert best_first.tolist() == items.media_id_M[np.argsort(-items.created_at_ms_M)].tolist()


def test_a_new_item_starts_with_the_reputation_of_its_account() -> None:
    items = hand_made()
    items.counts_MA[[0, 9]] = items.recent_counts_MA[[0, 9]] = 0
    items.created_at_ms_M[[0, 9]] = items.as_of_ms
    assert quality(items)[9] > quality(items)[0]
