"""Stored neighbours against a loop over all pairs, with ties, and from an index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.training.sourcing.worlds import clustered, unit_vectors
from training.sourcing.config import IndexConfig, IndexKind
from training.sourcing.neighbours import NO_NEIGHBOUR, Neighbours, nearest
from training.sourcing.vector_index import build_index

EVERY = 1_000_000


def neighbours(
    vectors: NDArray[np.float32], k: int, all_pairs_up_to: int = EVERY, kind: IndexKind = "auto"
) -> Neighbours:
    return nearest(vectors, build_index("an index", vectors, IndexConfig(kind=kind)), k, all_pairs_up_to)


def naive(vectors: NDArray[np.float32], k: int) -> tuple[list[list[int]], list[list[float]]]:
    wide = vectors.astype(np.float64)
    rows, cosines = [], []
    for one, vector in enumerate(wide):
        pairs = [(float(np.float32(vector @ other)), two) for two, other in enumerate(wide) if two != one]
        best = sorted(((-cosine, two) for cosine, two in pairs if np.float16(cosine) > 0))[:k]
        rows.append([two for _, two in best] + [NO_NEIGHBOUR] * (k - len(best)))
        cosines.append([float(np.float16(-cosine)) for cosine, _ in best] + [0.0] * (k - len(best)))
    return rows, cosines


# Integers: sums of their products are exact in whatever order, so equal cosines are equal everywhere.
GRID = st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=90)


@given(GRID, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_nearest_are_those_of_a_loop_over_all_pairs_ties_by_row(grid: list[list[int]], k: int) -> None:
    """Most of these vectors are equal to others: more tie than there are spare candidates."""
    vectors = np.array(grid, dtype=np.float32) / np.float32(4)
    found = neighbours(vectors, k)
    assert (found.row_XK.tolist(), found.cosine_XK.tolist()) == naive(vectors, k)


def test_more_vectors_than_a_block_and_a_group_hold() -> None:
    vectors = clustered(700)
    vectors[::5] = 0
    found = neighbours(vectors, 50)
    rows, cosines = naive(vectors, 50)
    assert found.row_XK.tolist() == rows
    np.testing.assert_allclose(found.cosine_XK, cosines, atol=1e-3)
    assert (found.row_XK.dtype.name, found.cosine_XK.dtype.name, found.covered()) == ("int32", "float16", 560)


def test_hundreds_of_equal_vectors_are_ordered_by_row() -> None:
    vectors = np.repeat(unit_vectors(2), 300, axis=0)
    found = neighbours(vectors, 4)
    assert found.row_XK[[0, 2, 299]].tolist() == [[1, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3]]
    assert found.row_XK[300].tolist() == [301, 302, 303, 304]


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq"])
def test_an_index_finds_nearly_the_same(kind: IndexKind) -> None:
    vectors = clustered(3_000)
    vectors[::5] = 0
    exact, found = neighbours(vectors, 20), neighbours(vectors, 20, all_pairs_up_to=0, kind=kind)
    same = [len(np.intersect1d(a, b)) for a, b in zip(exact.row_XK[1::5], found.row_XK[1::5], strict=True)]
    assert np.mean(same) > 19
    assert (found.row_XK[::5] == NO_NEIGHBOUR).all()
    own = np.arange(3_000)[:, None]
    assert not (found.row_XK == own).any()


def test_a_vector_alone_has_no_neighbour_and_nothing_has_none() -> None:
    assert neighbours(unit_vectors(1), 3).row_XK.tolist() == [[NO_NEIGHBOUR] * 3]
    assert neighbours(unit_vectors(0), 3).row_XK.shape == (0, 3)
    assert neighbours(np.zeros((4, 2), dtype=np.float32), 3).covered() == 0


def test_opposites_are_no_neighbours() -> None:
    vectors = np.array([[1, 0], [-1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    found = neighbours(vectors, 2)
    assert found.row_XK.tolist() == [[3, -1], [-1, -1], [3, -1], [2, 0]]
    assert found.cosine_XK.astype(float).round(2).tolist() == [[0.6, 0], [0, 0], [0.8, 0], [0.8, 0.6]]


def test_progress_ends_at_the_number_of_vectors() -> None:
    said: list[tuple[int, int]] = []
    vectors = unit_vectors(600)
    index = build_index("an index", vectors)
    nearest(vectors, index, 5, EVERY, lambda done, total: said.append((done, total)))
    assert said == [(256, 600), (512, 600), (600, 600)]
