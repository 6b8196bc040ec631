"""Sorted sets of integers behave like Python's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.datasets.simulate.pairs import as_set, first_of_each, place_in

pairs = st.lists(st.integers(0, 20), max_size=30)


def array(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@settings(deadline=None)
@given(pairs)
def test_a_set_is_ascending_and_distinct(values: list[int]) -> None:
    assert as_set(array(values)).tolist() == sorted(set(values))


@settings(deadline=None)
@given(pairs, pairs)
def test_places_point_at_their_pairs(members: list[int], asked: list[int]) -> None:
    known = sorted(set(members))
    expected = [known.index(value) if value in known else -1 for value in asked]
    assert place_in(array(known), array(asked)).tolist() == expected


@settings(deadline=None)
@given(pairs)
def test_the_first_of_each_is_where_index_finds_it(values: list[int]) -> None:
    assert first_of_each(array(values)).tolist() == [values.index(value) == i for i, value in enumerate(values)]
