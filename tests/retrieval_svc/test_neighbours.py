from __future__ import annotations

import threading
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_svc.neighbours import NO_NEIGHBOUR, AccountNeighbours
from retrieval_svc.vector_index import Float32, Int64, VectorIndex

ACCOUNTS, DIM, STORED = 120, 6, 12

Lists = tuple[NDArray[np.int32], NDArray[np.float16]]


def random_vectors(seed: int, accounts: int = ACCOUNTS) -> Float32:
    """Unit vectors; account 0 has none, and 7 equals 3."""
    vector_UE = np.random.default_rng(seed).normal(size=(accounts, DIM)) + 0.5
    vector_UE /= np.linalg.norm(vector_UE, axis=1, keepdims=True)
    vector_UE[0], vector_UE[7] = 0, vector_UE[3]
    return vector_UE.astype(np.float32)


def index_of(vector_UE: Float32) -> VectorIndex:
    row_I = np.flatnonzero(vector_UE.any(axis=1))
    index = faiss.IndexFlatIP(vector_UE.shape[1])
    index.add(vector_UE[row_I])
    return VectorIndex(index, row_I, vector_UE, "v1")


def brute_force(vector_XE: Float32, row: int, k: int) -> tuple[Int64, Float32]:
    """All rows, rows without a vector being zeros."""
    cosine_X = np.vecdot(vector_XE, vector_XE[row])
    cosine_X[row] = 0
    order_X = np.lexsort((np.arange(len(cosine_X)), -cosine_X))[:k]
    positive_X = order_X[cosine_X[order_X] > 1e-7]
    missing = (0, k - len(positive_X))
    return np.pad(positive_X, missing, constant_values=NO_NEIGHBOUR), np.pad(cosine_X[positive_X], missing)


def lists_of(vector_UE: Float32, stored: int = STORED) -> Lists:
    found = [brute_force(vector_UE, row, stored) for row in range(len(vector_UE))]
    row_UK = np.stack([row_K for row_K, _ in found]).astype(np.int32)
    return row_UK, np.stack([cosine_K for _, cosine_K in found]).astype(np.float16)


def neighbours_of(vector_UE: Float32, stored: int = STORED) -> tuple[AccountNeighbours, VectorIndex]:
    index = index_of(vector_UE)
    return AccountNeighbours(*lists_of(vector_UE, stored), index), index


def agree(near_Sk: Int64, cosine_Sk: Float32, vector_XE: Float32, account_row_S: Int64) -> None:
    """Equal up to the order of cosines that float16 cannot tell apart."""
    for near_k, cosine_k, row in zip(near_Sk, cosine_Sk, account_row_S.tolist(), strict=True):
        exact_k, exact_cosine_k = brute_force(vector_XE, row, len(near_k))
        assert (near_k == NO_NEIGHBOUR).tolist() == (exact_k == NO_NEIGHBOUR).tolist()
        assert cosine_k == pytest.approx(exact_cosine_k, abs=1e-3)
        found_k = near_k[near_k != NO_NEIGHBOUR]
        assert len(np.unique(found_k)) == len(found_k)
        assert row not in found_k
        true_k = vector_XE[found_k] @ vector_XE[row]
        assert true_k == pytest.approx(cosine_k[: len(found_k)], abs=1e-3)
        assert (np.diff(cosine_k) <= 0).all()


@given(st.integers(0, 30), st.integers(1, 20))
def test_lists_and_searches_name_the_nearest(seed: int, k: int) -> None:
    vector_UE = random_vectors(seed)
    neighbours, _ = neighbours_of(vector_UE)
    asked = np.array([3, 0, 119, 3, 50])
    near_Sk, cosine_Sk = neighbours.neighbours(asked, k)
    for s, row in enumerate(asked):
        exact_k, exact_cosine_k = brute_force(vector_UE, row, k)
        assert near_Sk[s].tolist() == exact_k.tolist()
        assert cosine_Sk[s].tolist() == exact_cosine_k.astype(np.float16).astype(np.float32).tolist()
    assert near_Sk.dtype == np.int64
    assert cosine_Sk.dtype == np.float32


@given(st.integers(0, 30), st.integers(1, 20), st.integers(0, 40), st.integers(0, 30))
def test_what_came_and_went_is_as_if_published(seed: int, k: int, gone: int, new: int) -> None:
    draw = np.random.default_rng(seed)
    vector_XE = np.zeros((ACCOUNTS + 50, DIM), dtype=np.float32)
    vector_XE[:ACCOUNTS] = random_vectors(seed)
    neighbours, index = neighbours_of(vector_XE[:ACCOUNTS])
    removed = draw.choice(ACCOUNTS, gone, replace=False)
    added = draw.choice(ACCOUNTS + 50, new, replace=False)  # some known, some new, some just removed
    vector_NE = random_vectors(seed + 1, 50)[10 : 10 + new]
    index.remove(removed)
    index.add(added, vector_NE, "v1")
    vector_XE[removed] = 0
    vector_XE[added] = vector_NE
    asked = np.arange(ACCOUNTS + 50)
    agree(*neighbours.neighbours(asked, k), vector_XE, asked)


def test_an_account_that_lost_all_its_listed_neighbours_is_searched_for() -> None:
    vector_UE = random_vectors(4)
    neighbours, index = neighbours_of(vector_UE)
    near_Sk, _ = neighbours.neighbours(np.array([20]), STORED)
    index.remove(near_Sk[0])
    vector_UE[near_Sk[0]] = 0
    assert neighbours.neighbours(np.array([20]), 5)[0][0].tolist() == brute_force(vector_UE, 20, 5)[0].tolist()


def test_spares_of_a_list_move_up() -> None:
    vector_UE = random_vectors(4)
    neighbours, index = neighbours_of(vector_UE)
    near_Sk, cosine_Sk = neighbours.neighbours(np.array([20]), STORED)
    index.remove(near_Sk[0, [0, 2]])
    moved_Sk, moved_cosine_Sk = neighbours.neighbours(np.array([20]), 5)
    assert moved_Sk[0].tolist() == near_Sk[0, [1, 3, 4, 5, 6]].tolist()
    assert moved_cosine_Sk[0].tolist() == cosine_Sk[0, [1, 3, 4, 5, 6]].tolist()


def test_a_removed_account_has_no_neighbours_and_an_added_one_does() -> None:
    vector_UE = random_vectors(5)
    neighbours, index = neighbours_of(vector_UE)
    index.remove(np.array([9]))
    index.add(np.array([0, 500]), vector_UE[[30, 40]], "v1")
    near_Sk, cosine_Sk = neighbours.neighbours(np.array([9, 0, 500, 30]), 2)
    assert near_Sk[0].tolist() == [NO_NEIGHBOUR] * 2
    assert near_Sk[1:, 0].tolist() == [30, 40, 0]
    assert cosine_Sk[1:, 0].tolist() == [1, 1, 1]


def test_rows_that_nobody_has_are_without_neighbours() -> None:
    neighbours, _ = neighbours_of(random_vectors(1))
    near_Sk, cosine_Sk = neighbours.neighbours(np.array([0, -1, ACCOUNTS, 99_999]), 3)
    assert near_Sk.tolist() == [[NO_NEIGHBOUR] * 3] * 4
    assert not cosine_Sk.any()


def test_asking_for_nothing_gives_nothing() -> None:
    neighbours, _ = neighbours_of(random_vectors(1))
    assert neighbours.neighbours(np.empty(0, dtype=np.int64), 7)[0].shape == (0, 7)
    assert neighbours.neighbours(np.array([4]), 0)[1].shape == (1, 0)


def test_without_accounts_or_lists_there_is_still_an_answer() -> None:
    index = index_of(np.empty((0, DIM), dtype=np.float32))
    nobody = AccountNeighbours(np.empty((0, 5), dtype=np.int32), np.empty((0, 5), dtype=np.float16), index)
    assert nobody.neighbours(np.array([0, 5]), 2)[0].tolist() == [[NO_NEIGHBOUR] * 2] * 2
    vector_UE = random_vectors(1)
    unlisted, _ = neighbours_of(vector_UE, 0)
    assert unlisted.neighbours(np.array([8]), 4)[0][0].tolist() == brute_force(vector_UE, 8, 4)[0].tolist()


def test_opposite_accounts_are_no_neighbours() -> None:
    vector_UE = np.array([[1, 0], [-1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    neighbours, index = neighbours_of(vector_UE, 3)
    index.add(np.array([9]), -vector_UE[:1], "v1")
    assert neighbours.neighbours(np.array([0, 1]), 3)[0].tolist() == [[3, -1, -1], [9, -1, -1]]


def test_lists_of_two_shapes_are_refused() -> None:
    row_UK, cosine_UK = lists_of(random_vectors(1))
    with pytest.raises(ValueError, match="cosines"):
        AccountNeighbours(row_UK, cosine_UK[:, 1:], index_of(random_vectors(1)))


@pytest.mark.parametrize("k", [5, STORED, 20])
@given(seed=st.integers(0, 30), changed=st.booleans())
def test_neighbours_do_not_depend_on_who_asks_too(k: int, seed: int, changed: bool) -> None:
    neighbours, index = neighbours_of(random_vectors(seed))
    if changed:
        index.remove(np.arange(20, 60))
        index.add(np.arange(50, 150), random_vectors(seed + 1)[10:110], "v1")
    together = neighbours.neighbours(np.arange(160), k)
    for row in (0, 3, 17, 55, 119, 140):
        alone = neighbours.neighbours(np.array([row]), k)
        assert alone[0][0].tobytes() == together[0][row].tobytes()
        assert alone[1][0].tobytes() == together[1][row].tobytes()


def test_mapped_files_answer_like_arrays(tmp_path: Path) -> None:
    vector_UE = random_vectors(2)
    row_UK, cosine_UK = lists_of(vector_UE)
    for name, column in (("rows", row_UK), ("cosines", cosine_UK), ("vectors", vector_UE)):
        np.save(tmp_path / f"{name}.npy", column)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("rows", "cosines", "vectors")]
    from_files = AccountNeighbours(mapped[0], mapped[1], index_of(mapped[2])).neighbours(np.arange(ACCOUNTS), 8)
    from_arrays = AccountNeighbours(row_UK, cosine_UK, index_of(vector_UE)).neighbours(np.arange(ACCOUNTS), 8)
    assert [column.tobytes() for column in from_files] == [column.tobytes() for column in from_arrays]


def test_an_answer_shows_one_moment() -> None:
    vector_UE = random_vectors(3)
    neighbours, index = neighbours_of(vector_UE)
    pair = np.array([200, 201])  # equal to account 30, they come and go together
    states: list[tuple[bool, ...]] = []
    was_read = threading.Semaphore(0)  # one write per read, so that both go on until the end

    def read() -> None:
        for _ in range(300):
            near_Sk, _ = neighbours.neighbours(np.array([30, 200, 46]), 20)
            states.append((*np.isin(pair, near_Sk[0]).tolist(), 201 in near_Sk[1], *np.isin(pair, near_Sk[2]).tolist()))
            was_read.release()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(300):
        index.add(pair, vector_UE[[30, 30]], "v1")
        was_read.acquire()
        index.remove(pair)
        was_read.acquire()
    for reader in readers:
        reader.join()
    assert set(states) == {(True,) * 5, (False,) * 5}
    assert len(states) == 600
