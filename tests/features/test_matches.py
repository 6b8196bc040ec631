"""Grouped sums against the same sums made for every candidate by itself: equal to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import matches
from features.matches import Matches
from features.view import is_known

SLOTS = 50


def one_by_one(value_BL: np.ndarray, value_N: np.ndarray, user_N: np.ndarray, weight_BL: np.ndarray) -> np.ndarray:
    """The definition: a row of slots per candidate."""
    slots = weight_BL.shape[1]
    match_NL = (value_BL[user_N] == value_N[:, None]) & (value_N >= 0)[:, None]
    return (weight_BL[user_N] * match_NL[:, SLOTS - slots :]).sum(axis=1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(0, 700),
    st.integers(1, 40),
    st.sampled_from([1, 10, SLOTS]),
    st.integers(0, 2**32 - 1),
)
def test_sums_of_groups_are_those_of_every_candidate(
    users: int, count: int, values: int, slots: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    value_BL, value_N = draw.integers(-1, values, (users, SLOTS)), draw.integers(-1, values, count)
    user_N = draw.integers(0, users, count)
    weight_BL = draw.normal(size=(users, slots)).astype(np.float32) * draw.integers(0, 2, (users, slots))
    weight_BL = weight_BL.astype(np.float32)
    found = Matches.of(value_BL, value_N, user_N, values)
    summed_N = found.of_candidates(found.summed(weight_BL))
    assert summed_N.dtype == np.float32
    assert np.array_equal(summed_N, one_by_one(value_BL, value_N, user_N, weight_BL))


def test_many_candidates_share_few_sums() -> None:
    value_BL = np.tile(np.arange(SLOTS) % 5, (2, 1))
    value_N, user_N = np.tile(np.arange(10), 200), np.repeat([0, 1], 1_000)
    found = Matches.of(value_BL, value_N, user_N, 10)
    assert len(found.match_GL) == 2 * (5 + 1)  # five values, and none of them
    assert found.of_candidates(np.asarray(found.match_GL.any(axis=1))).tolist() == (value_N < 5).tolist()


@pytest.mark.parametrize("many", [0, 1 << 30])
def test_what_is_unknown_matches_nothing_not_even_what_is_unknown(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matches, "_MANY", many)
    found = Matches.of(np.full((1, SLOTS), -1), np.array([-1, 0, -1]), np.zeros(3, dtype=np.int64), 3)
    assert not found.of_candidates(np.asarray(found.match_GL.any(axis=1))).any()


def test_nobody_matches_nothing() -> None:
    empty = np.empty(0, dtype=np.int64)
    found = Matches.of(np.empty((0, SLOTS), dtype=np.int64), empty, empty, 3)
    assert found.of_candidates(found.summed(np.empty((0, SLOTS), dtype=np.float32))).shape == (0,)


@given(st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0, 1e-40, np.nan]), min_size=3, max_size=3), max_size=8))
def test_a_vector_is_known_if_any_number_is_not_zero(vectors: list[list[float]]) -> None:
    vector_XV = np.array(vectors, dtype=np.float32).reshape(-1, 3)
    assert is_known(vector_XV).tolist() == vector_XV.any(axis=1).tolist()


def test_vectors_without_numbers_are_not_known() -> None:
    assert is_known(np.empty((2, 0), dtype=np.float32)).tolist() == [False, False]
