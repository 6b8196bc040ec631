from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.ragged import (
    Sets,
    best_first,
    contains,
    first_places,
    largest_remainder,
    lowest_first,
    offsets_of,
    owners,
    ranges,
    rank_within,
    stable_order,
)

weights = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(0, 1e6))
scores = st.lists(st.lists(st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0])), min_size=1)
keys = st.lists(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32, 2**63])), min_size=1)


def grouped(lists: list[list[float]]) -> list[int]:
    return [0, *np.cumsum([len(each) for each in lists]).tolist()]


def test_rows_of_users_and_their_offsets_are_two_views_of_the_same() -> None:
    offsets = offsets_of(np.array([0, 0, 2]), 4)
    assert offsets.tolist() == [0, 2, 2, 3, 3]
    assert owners(offsets).tolist() == [0, 0, 2]


def test_ranges_follow_each_other() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


def test_rows_are_counted_inside_their_group() -> None:
    group = np.array([3, 3, 1, 1, 1])
    assert rank_within(group).tolist() == [0, 1, 0, 1, 2]
    assert rank_within(group[:0]).tolist() == []


@given(scores)
def test_best_first_is_a_stable_sort_inside_every_group(lists: list[list[float]]) -> None:
    offsets = grouped(lists)
    found = best_first(np.array([score for each in lists for score in each], dtype=np.float64), np.array(offsets))
    expected = [
        offset + place
        for offset, each in zip(offsets, lists, strict=False)
        for place in sorted(range(len(each)), key=lambda place, each=each: -each[place])  # type: ignore[misc]
    ]
    assert found.tolist() == expected


def test_scores_that_float32_cannot_tell_apart_are_told_apart_all_the_same() -> None:
    assert best_first(np.array([1.0, 1.0 + 1e-9, 1.0 + 1e-6]), np.array([0, 3])).tolist() == [2, 1, 0]
    assert best_first(np.array([1.0, 3.0, 1.0 + 1e-9, 2.0]), np.array([0, 1, 3, 4])).tolist() == [0, 1, 2, 3]
    assert best_first(np.array([-np.inf, np.inf, 0.0]), np.array([0, 3])).tolist() == [1, 2, 0]


@given(keys)
def test_lowest_first_sorts_by_the_upper_half(lists: list[list[int]]) -> None:
    offsets = [0, *np.cumsum([len(each) for each in lists]).tolist()]
    found = lowest_first(np.array([key for each in lists for key in each], dtype=np.uint64), np.array(offsets))
    expected = [
        offset + place
        for offset, each in zip(offsets, lists, strict=False)
        for place in sorted(range(len(each)), key=lambda place, each=each: each[place] >> 32)  # type: ignore[misc]
    ]
    assert found.tolist() == expected


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 9))),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))),
)
def test_a_set_per_user_holds_what_it_was_given(pairs: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    pairs, asked = sorted(pairs, key=lambda pair: pair[0]), sorted(asked)
    user_X, row_X = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    user_P, row_P = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    sets = Sets.of(user_X, row_X, 4, 10)
    assert sets.contains(user_P, row_P).tolist() == [pair in pairs for pair in asked]
    assert list(zip(owners(sets.offsets).tolist(), sets.row_X.tolist(), strict=True)) == [
        pair for pair in pairs if pair[1] >= 0
    ]


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


few_or_huge = st.lists(st.integers(0, 5) | st.integers(0, 2**63 - 1), max_size=40)


@given(few_or_huge)
def test_stable_order_is_a_stable_sort_of_keys_of_any_size(keys: list[int]) -> None:
    key_P = np.array(keys, dtype=np.int64)
    assert stable_order(key_P).tolist() == np.argsort(key_P, kind="stable").tolist()
    assert key_P.tolist() == keys


@given(few_or_huge)
def test_first_places_are_those_of_keys_that_did_not_come_before(keys: list[int]) -> None:
    expected = [place for place, key in enumerate(keys) if key not in keys[:place]]
    assert first_places(np.array(keys, dtype=np.int64)).tolist() == expected
