from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_svc.account_index import NO_NEIGHBOUR, AccountIndex
from retrieval_svc.catalogue import Catalogue
from tests.retrieval_svc.worlds import account_files, random_items


def test_neighbours_come_nearest_first_with_their_cosine(catalogue: Catalogue) -> None:
    near_Sk, cosine_Sk = catalogue.accounts.neighbours(np.array([0, 3]), 2)
    assert near_Sk.tolist() == [[1, 3], [2, 1]]
    assert cosine_Sk.ravel() == pytest.approx([0.96, 0.28, 0.96, 0.28 * 0.96 * 2])


def test_missing_neighbours_are_filled_up(catalogue: Catalogue) -> None:
    near_Sk, cosine_Sk = catalogue.accounts.neighbours(np.array([0]), 5)
    assert near_Sk.tolist() == [[1, 3, 2, NO_NEIGHBOUR, NO_NEIGHBOUR]]
    assert cosine_Sk[0, 3:].tolist() == [0, 0]


def test_an_account_without_a_vector_has_no_neighbours() -> None:
    items = random_items(3)
    index, index_rows, _, _ = account_files(items)
    near_Sk, _ = AccountIndex(index, index_rows, items.account_vector_UE).neighbours(np.array([0]), 4)
    assert near_Sk.tolist() == [[NO_NEIGHBOUR] * 4]


def test_asking_for_nothing_gives_nothing(catalogue: Catalogue) -> None:
    assert catalogue.accounts.neighbours(np.empty(0, dtype=np.int64), 7)[0].shape == (0, 7)


@given(st.integers(0, 50), st.booleans())
def test_neighbours_do_not_depend_on_who_asks_too(seed: int, graph: bool) -> None:
    vector_UE = np.random.default_rng(seed).normal(size=(60, 8)).astype(np.float32)
    index = faiss.IndexHNSWFlat(8, 16, faiss.METRIC_INNER_PRODUCT) if graph else faiss.IndexFlatIP(8)
    index.add(vector_UE)
    together = AccountIndex(index, np.arange(60), vector_UE).neighbours(np.arange(60), 5)
    for row in (0, 17, 59):
        alone = AccountIndex(index, np.arange(60), vector_UE).neighbours(np.array([row]), 5)
        assert alone[0][0].tolist() == together[0][row].tolist()
        assert alone[1][0].tobytes() == together[1][row].tobytes()
