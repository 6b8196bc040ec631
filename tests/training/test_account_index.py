"""The account index: which vectors are in it, how good it must be, and the posting lists beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from bundles import layout
from features.actions import Action
from features.item_table import ItemTable
from tests.training.logs import START, Event, dataset, table_of
from training.account_index import (
    EF_SEARCH,
    MIN_RECALL,
    IndexQuality,
    build_index,
    check_recall,
    posting_lists,
    write_account_index,
)
from training.errors import ExportError


def index_world() -> ItemTable:
    items = table_of(dataset([Event("ann", 10, Action.CLICK, 0)], {10: "a", 11: "a", 12: "a", 20: "a", 30: "a"}))
    created = START + np.array([5, 9, 5, 1, 1])
    vectors = np.array([[1, 0], [0, 0], [0.6, 0.8]], dtype=np.float32)
    return replace(items, created_at_ms_M=created, account_vector_UE=vectors)


def test_posting_lists_hold_all_media_by_account_newest_first() -> None:
    offsets, row_M = posting_lists(index_world())
    assert offsets.tolist() == [0, 3, 4, 5]
    assert row_M.tolist() == [1, 2, 0, 3, 4]


@pytest.mark.parametrize("exact_below", [0, 50_000])
def test_the_index_finds_accounts_that_have_a_vector(tmp_path: Path, exact_below: int) -> None:
    write_account_index(index_world(), tmp_path, exact_below)
    index = faiss.read_index(str(tmp_path / layout.ACCOUNT_INDEX))
    row_I = np.load(tmp_path / layout.ACCOUNT_INDEX_ROWS)
    score, place = index.search(np.array([[0.6, 0.8]], dtype=np.float32), 2)
    assert row_I[place[0]].tolist() == [2, 0]
    assert score[0] == pytest.approx([1, 0.6])
    assert np.load(tmp_path / layout.ACCOUNT_MEDIA_OFFSETS).dtype == np.int64
    assert np.load(tmp_path / layout.ACCOUNT_MEDIA_ROWS).dtype == np.int32


def unit_vectors(count: int, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_small_index_is_exact() -> None:
    vectors = unit_vectors(100)
    assert check_recall(build_index(vectors), vectors) == IndexQuality("exact", 100, 1.0)


def test_a_graph_index_passes_the_recall_gate() -> None:
    vectors = unit_vectors(3_000)
    quality = check_recall(build_index(vectors, exact_below=0), vectors)
    assert (quality.kind, quality.accounts, quality.recall >= MIN_RECALL) == ("hnsw", 3_000, True)


def test_a_graph_index_that_finds_other_neighbours_is_refused() -> None:
    vectors = unit_vectors(3_000)
    with pytest.raises(ExportError, match=r"the account index: recall@50 is 0\.0"):
        check_recall(build_index(unit_vectors(3_000, seed=1), exact_below=0), vectors)


def test_a_search_that_looks_around_too_little_is_refused() -> None:
    vectors = unit_vectors(3_000)
    index: Any = build_index(vectors, exact_below=0)
    index.hnsw.efSearch = 1
    with pytest.raises(ExportError, match="raise EF_SEARCH"):
        check_recall(index, vectors)


def test_serving_searches_as_widely_as_was_measured(tmp_path: Path) -> None:
    faiss.write_index(build_index(unit_vectors(100), exact_below=0), str(tmp_path / "index"))
    index: Any = faiss.read_index(str(tmp_path / "index"))
    assert index.hnsw.efSearch == EF_SEARCH


def test_an_index_of_nothing_is_fine() -> None:
    assert check_recall(build_index(unit_vectors(0)), unit_vectors(0)).accounts == 0
