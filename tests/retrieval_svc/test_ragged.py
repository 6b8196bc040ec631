from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval_svc.ragged import contains, largest_remainder, offsets_of, owners, ranges, rank_within, sum_before

weights = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(0, 1e6))


def test_rows_of_users_and_their_offsets_are_two_views_of_the_same() -> None:
    offsets = offsets_of(np.array([0, 0, 2]), 4)
    assert offsets.tolist() == [0, 2, 2, 3, 3]
    assert owners(offsets).tolist() == [0, 0, 2]


def test_ranges_follow_each_other() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


def test_rows_are_counted_and_summed_inside_their_group() -> None:
    group = np.array([3, 3, 1, 1, 1])
    assert rank_within(group).tolist() == [0, 1, 0, 1, 2]
    assert sum_before(np.array([2, 4, 1, 1, 5]), group).tolist() == [0, 2, 0, 1, 2]
    assert rank_within(group[:0]).tolist() == sum_before(group[:0], group[:0]).tolist() == []


@given(st.lists(st.integers(-3, 9)), st.lists(st.integers(-3, 9)))
def test_contains_is_membership(keys: list[int], asked: list[int]) -> None:
    found = contains(np.array(sorted(keys), dtype=np.int64), np.array(asked, dtype=np.int64))
    assert found.tolist() == [key in keys for key in asked]


@given(weights, st.integers(0, 10_000))
def test_shares_add_up_and_stay_within_one_of_the_exact_share(weight_BS: np.ndarray, total: int) -> None:
    share_BS = largest_remainder(np.full(len(weight_BS), total), weight_BS)
    for share_S, weight_S in zip(share_BS, weight_BS, strict=True):
        weighed = weight_S.sum() > 0
        assert share_S.sum() == (total if weighed else 0)
        assert np.all(np.abs(share_S - total * weight_S / (weight_S.sum() or 1)) <= 1 + 1e-6) or not weighed


def test_the_largest_remainder_gets_the_last_seat_and_ties_go_left() -> None:
    assert largest_remainder(np.array([10]), np.array([[0.35, 0.33, 0.32]])).tolist() == [[4, 3, 3]]
    assert largest_remainder(np.array([1]), np.array([[0.5, 0.5]])).tolist() == [[1, 0]]
