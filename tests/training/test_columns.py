"""Columns in memory and in files hold the same, and the orders that are made a chunk at a time are those of a sort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import columns
from training.columns import NO_GROUP, Scratch, blocks, chunks, gathered, grouped, places_where, selected, time_order

LISTS = st.lists(st.integers(-1, 6), max_size=40)


@pytest.fixture(autouse=True, scope="module", params=[3, 1 << 19])
def _chunk(request: pytest.FixtureRequest) -> object:
    patched = pytest.MonkeyPatch()
    patched.setattr(columns, "CHUNK", request.param)
    yield
    patched.undo()


def test_what_fits_the_budget_is_in_memory_and_the_rest_in_files(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "new", budget=100)
    first, second, third = (scratch.zeros((size,), np.int64) for size in (10, 5, 2))
    assert (scratch.in_memory, scratch.in_files) == (96, 40)
    assert (first.base is None, second.base is None, third.base is None) == (True, False, True)
    second[:] = np.arange(5)
    assert second.tolist() == [0, 1, 2, 3, 4]
    assert list((tmp_path / "new").iterdir()) == []  # files without a name: nothing is left of a run that is killed


def test_without_a_budget_everything_is_in_memory() -> None:
    scratch = Scratch()
    assert scratch.zeros((1000, 1000), np.float32).base is None
    assert scratch.in_files == 0


def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left|File too large"):
        Scratch(tmp_path, budget=0).empty((1 << 58,), np.uint8)


@pytest.mark.parametrize("shape", [(0,), (0, 7), (3, 0)])
def test_empty_columns_have_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert Scratch(tmp_path, budget=0).empty(shape, np.int64).shape == shape


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 7))
def test_chunks_cover_a_range_once(start: int, length: int, size: int) -> None:
    found = [place for of in chunks(start, start + length, size) for place in range(of.start, of.stop)]
    assert found == list(range(start, start + length))


@given(LISTS, st.integers(0, 5))
def test_groups_are_those_of_a_stable_sort(values: list[int], start: int) -> None:
    group_X = np.array(values, dtype=np.int64)
    start = min(start, len(values))
    place_K, start_G = grouped(lambda of: group_X[of], start, len(values), 7, Scratch())
    kept = [place for place in range(start, len(values)) if values[place] != NO_GROUP]
    assert place_K.tolist() == sorted(kept, key=lambda place: values[place])
    assert np.diff(start_G).tolist() == [values[start:].count(group) for group in range(7)]


@given(LISTS)
def test_blocks_cover_all_groups_and_stay_small(values: list[int]) -> None:
    group_X = np.array(values, dtype=np.int64)
    _, start_G = grouped(lambda of: group_X[of], 0, len(values), 7, Scratch())
    found = list(blocks(start_G))
    assert [group for of in found for group in range(of.start, of.stop)] == list(range(7))
    for of in found:
        assert of.stop - of.start == 1 or start_G[of.stop] - start_G[of.start] <= columns.CHUNK


@given(st.lists(st.integers(-(10**15), 10**15) | st.integers(0, 3), max_size=60))
def test_the_order_of_time_is_that_of_a_stable_sort(values: list[int]) -> None:
    time_X = np.array(values, dtype=np.int64)
    assert time_order(time_X, Scratch()).tolist() == np.argsort(time_X, kind="stable").tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30))
def test_selections_are_those_of_numpy(rows: list[tuple[int, bool]]) -> None:
    column_X2 = np.array([(value, -value) for value, _ in rows], dtype=np.int32).reshape(-1, 2)
    keep_X = np.array([kept for _, kept in rows], dtype=np.bool_)
    place_K = np.flatnonzero(keep_X)
    assert np.array_equal(selected(column_X2, keep_X, Scratch()), column_X2[keep_X])
    assert np.array_equal(gathered(column_X2, place_K[::-1], Scratch()), column_X2[keep_X][::-1])
    assert np.array_equal(places_where(lambda of: keep_X[of], 0, len(rows)), place_K)
