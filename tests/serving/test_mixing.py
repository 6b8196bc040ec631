from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.mixing import Dealt, deal, shares
from serving.ragged import Int64

lists = st.lists(st.lists(st.integers(0, 30), max_size=20, unique=True), min_size=1, max_size=4)


def dealt(user_P: Int64, source_P: Int64, row_P: Int64, count_B: Int64, weight_S: NDArray[np.float64]) -> Dealt:
    """Shares by weight on one level."""
    return deal(
        user_P, source_P, row_P, count_B, weight_S, lambda available_BS: shares(count_B, weight_S, available_BS)
    )


def mixed(sources: list[list[int]], count: int, weights: list[float] | None = None) -> tuple[list[int], Dealt]:
    """One user's list of media rows from what each source proposes."""
    source_P = np.repeat(np.arange(len(sources)), [len(rows) for rows in sources])
    row_P = np.array([row for rows in sources for row in rows], dtype=np.int64)
    weight_S = np.array(weights or [1.0] * len(sources))
    found = dealt(np.zeros_like(row_P), source_P, row_P, np.array([count]), weight_S)
    return row_P[found.row_N].tolist(), found


def test_sources_take_turns_by_weight() -> None:
    assert mixed([[1, 2, 3, 4, 5, 6], [11, 12, 13]], 6, [2, 1])[0] == [1, 11, 2, 3, 12, 4]


def test_equal_weights_alternate() -> None:
    assert mixed([[1, 2, 3], [11, 12, 13]], 6)[0] == [1, 11, 2, 12, 3, 13]


def test_what_a_source_cannot_fill_the_others_share_by_weight() -> None:
    available_BS = np.array([[2, 100, 100], [100, 100, 100], [0, 0, 7]])
    taken_BS = shares(np.array([20, 20, 20]), np.array([0.5, 0.3, 0.2]), available_BS)
    assert taken_BS.tolist() == [[2, 11, 7], [10, 6, 4], [0, 0, 7]]


def test_a_media_item_belongs_to_the_source_whose_turn_comes_first() -> None:
    rows, found = mixed([[1, 2, 7], [7, 11, 12]], 4)
    assert rows == [1, 7, 2, 11]
    assert found.duplicate_P.tolist() == [False, False, True, False, False, False]
    assert found.over_quota_P.tolist() == [False, False, False, False, False, True]


def test_a_heavier_source_wins_a_tie() -> None:
    assert mixed([[5], [5, 6]], 2)[1].duplicate_P.tolist() == [False, True, False]


def test_scores_fall_from_one_to_zero() -> None:
    assert mixed([[1, 2], [11, 12]], 4)[1].score_N.tolist() == [0.75, 0.75, 0.25, 0.25]


@given(lists, st.integers(1, 60))
def test_nothing_is_lost_and_nothing_comes_twice(sources: list[list[int]], count: int) -> None:
    rows, found = mixed(sources, count)
    distinct = {row for proposed in sources for row in proposed}
    assert len(set(rows)) == len(rows) == min(count, len(distinct))
    assert len(rows) + found.duplicate_P.sum() + found.over_quota_P.sum() == sum(map(len, sources))
    assert np.all(np.diff(found.score_N) <= 0)
    assert np.all((found.score_N > 0) & (found.score_N < 1))


@given(lists, st.integers(1, 60))
def test_every_source_keeps_its_own_order(sources: list[list[int]], count: int) -> None:
    _, found = mixed(sources, count)
    source_P = np.repeat(np.arange(len(sources)), [len(proposed) for proposed in sources])
    for source in range(len(sources)):
        mine = found.row_N[source_P[found.row_N] == source]
        assert np.all(np.diff(mine) > 0)


@given(lists, lists, st.integers(1, 30))
def test_users_do_not_see_each_other(one: list[list[int]], other: list[list[int]], count: int) -> None:
    other = (other + [[]] * len(one))[: len(one)]
    parts = [(u, s, row) for u, lists in enumerate((one, other)) for s, rows in enumerate(lists) for row in rows]
    user_P, source_P, row_P = np.array(parts, dtype=np.int64).reshape(-1, 3).T
    together = dealt(user_P, source_P, row_P, np.array([count, count]), np.ones(len(one)))
    both = row_P[together.row_N].tolist()
    assert both == mixed(one, count)[0] + mixed(other, count)[0]


def test_whoever_deals_may_share_otherwise() -> None:
    rows = np.array([1, 2, 3, 11, 12, 13])
    found = deal(
        np.zeros(6, dtype=np.int64),
        np.repeat([0, 1], 3),
        rows,
        np.array([4]),
        np.array([1.0, 1.0]),
        lambda available_BS: np.minimum(available_BS, [[3, 1]]),
    )
    assert rows[found.row_N].tolist() == [1, 2, 11, 3]
    assert (found.take_BS.tolist(), found.available_BS.tolist()) == ([[3, 1]], [[3, 3]])
    assert found.over_quota_P.tolist() == [False] * 4 + [True] * 2


@given(lists, st.integers(1, 60))
def test_what_is_available_is_what_nobody_claims_earlier(sources: list[list[int]], count: int) -> None:
    rows, found = mixed(sources, count)
    assert found.available_BS.sum() == len({row for proposed in sources for row in proposed})
    assert found.take_BS.sum() == len(rows)
    assert np.all(found.take_BS <= found.available_BS)


def test_an_empty_pool_gives_an_empty_list() -> None:
    assert mixed([[], []], 5)[0] == []
