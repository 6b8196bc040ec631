from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.item_table import ItemTable
from retrieval_svc.quality import base_value, best_order, newest_order, quality, trending
from tests.retrieval_svc.worlds import hand_made, random_items


def _quality(items: ItemTable) -> NDArray[np.float64]:
    return quality(items, newest_order(items))


@given(st.lists(st.sampled_from([-1.5, -0.0, 0.0, 2.0, np.nan, np.inf, -np.inf, 7.25]), max_size=60), st.randoms())
def test_equal_scores_keep_the_order_that_was_there_before(scores: list[float], random: Random) -> None:
    score_M, before_M = np.array(scores, dtype=np.float64), np.array(random.sample(range(len(scores)), len(scores)))
    before_M = before_M.astype(np.int64)
    slow_M = before_M[np.argsort(-score_M[before_M], kind="stable")]
    assert best_order(score_M, before_M).tolist() == slow_M.tolist()


def test_whole_numbers_are_ordered_too_and_nothing_is_an_order() -> None:
    assert best_order(np.array([3, 9, 3, 5]), np.arange(4)).tolist() == [1, 3, 0, 2]
    assert best_order(np.empty(0), np.empty(0, dtype=np.int64)).tolist() == []


def test_of_one_moment_the_lower_row_is_first() -> None:
    items = hand_made()
    items.created_at_ms_M[:] = items.as_of_ms
    items.created_at_ms_M[2] += 1
    assert newest_order(items).tolist() == [2, 0, 1, *range(3, len(items.media_id_M))]


def test_counts_of_more_media_than_are_summed_at_once_give_the_same_value(monkeypatch: pytest.MonkeyPatch) -> None:
    items = random_items(1)
    whole_M = trending(items)
    monkeypatch.setattr("retrieval_svc.quality._AT_ONCE", 7)
    np.testing.assert_allclose(trending(items), whole_M, rtol=1e-12)


def test_the_value_of_an_impression_counts_actions_by_weight() -> None:
    items = hand_made()
    items.base_rate_A[:] = np.zeros(N_ACTIONS)
    items.base_rate_A[[Action.CLICK, Action.SAVE, Action.HIDE]] = [0.2, 0.1, 0.05]
    assert base_value(items) == pytest.approx(0.2 * 1 + 0.1 * 3 - 0.05 * 3)


def test_trending_is_a_rate_and_not_a_count() -> None:
    items = hand_made()
    items.recent_counts_MA[0] *= 1000  # far more views and clicks, at the same, worst rate
    best_row_M = best_order(trending(items), newest_order(items))
    assert best_row_M[-1] == 0
    assert items.media_id_M[best_row_M][:4].tolist() == [402, 302, 202, 102]


def test_what_nobody_saw_lately_is_average() -> None:
    items = hand_made()
    items.recent_counts_MA[5] = 0
    assert trending(items)[5] == pytest.approx(base_value(items))


def test_quality_is_a_rank_between_zero_and_one() -> None:
    assert sorted(_quality(random_items(1))) == pytest.approx(np.arange(1, 301) / 300)


def test_of_two_equal_media_the_newer_is_better() -> None:
    items = hand_made()
    items.recent_counts_MA[:] = items.counts_MA[:] = items.counts_MA[0]
    items.account_counts_UA[:] = items.account_counts_UA[0]
    best_first = items.media_id_M[np.argsort(-_quality(items))]
    assert best_first.tolist() == items.media_id_M[np.argsort(-items.created_at_ms_M)].tolist()


def test_a_new_item_starts_with_the_reputation_of_its_account() -> None:
    items = hand_made()
    items.counts_MA[[0, 9]] = items.recent_counts_MA[[0, 9]] = 0
    items.created_at_ms_M[[0, 9]] = items.as_of_ms
    assert _quality(items)[9] > _quality(items)[0]
