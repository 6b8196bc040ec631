from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_svc.vector_index import (
    EXACT_SHARE,
    NO_ROW,
    Bool,
    EmbeddingVersionMismatch,
    Float32,
    Int64,
    VectorIndex,
)

DIM = 8
KINDS = ("flat", "graph", "cells", "codes", "unknown")
SHARES = (0, 0.01, 0.1, 0.19, 0.21, 0.5, 1)


def unit(vector_XE: Any) -> Float32:
    return (vector_XE / np.linalg.norm(vector_XE, axis=1, keepdims=True)).astype(np.float32)


def clustered(vectors: int, dim: int, seed: int) -> Float32:
    """Unit vectors in clusters of about a hundred, as embeddings of accounts are."""
    draw = np.random.default_rng(seed)
    centre_CE = draw.normal(size=(max(1, vectors // 100), dim))
    return unit(centre_CE[draw.integers(0, len(centre_CE), vectors)] + 0.7 * draw.normal(size=(vectors, dim)))


def built(kind: str, vector_IE: Float32) -> faiss.Index:
    dim = vector_IE.shape[1]
    recipe = {
        "flat": "Flat",
        "graph": "HNSW32",
        "cells": f"IVF{max(1, len(vector_IE) // 150)},Flat",
        "codes": f"IVF{max(1, len(vector_IE) // 150)},PQ{dim // 2}x4fs,RFlat",
        "unknown": f"PCAR{dim},Flat",
    }[kind]
    index = faiss.index_factory(dim, recipe, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(vector_IE)
    index.add(vector_IE)
    searched: Any = index
    if kind == "graph":
        searched.hnsw.efSearch = 128
    if kind in ("cells", "codes"):
        faiss.extract_index_ivf(index).nprobe = 24
    return index


@cache
def world(kind: str, vectors: int = 3000) -> tuple[faiss.Index, Int64, Float32]:
    """Every third row has no vector. Some vectors occur twice."""
    vector_IE = clustered(vectors, DIM, 0)
    vector_IE[10:20] = vector_IE[100:110]
    row_I = np.flatnonzero(np.arange(3 * vectors // 2) % 3)
    table_RE = np.zeros((3 * vectors // 2, DIM), dtype=np.float32)
    table_RE[row_I] = vector_IE
    return built(kind, vector_IE), row_I, table_RE


def opened(kind: str) -> VectorIndex:
    return VectorIndex(*world(kind), "v1")


def brute_force(row_X: Int64, vector_XE: Float32, query_E: Float32, k: int) -> tuple[Int64, Float32]:
    """Cosines to seven digits: the order of what is closer than that is for other tests."""
    cosine_X = np.round(vector_XE.astype(np.float64) @ query_E.astype(np.float64), 6)
    order_X = np.lexsort((row_X, -cosine_X))[:k]
    return row_X[order_X], cosine_X[order_X].astype(np.float32)


def mask(rows: int, share: float, seed: int) -> Bool:
    return np.random.default_rng(seed).random(rows) < share


@given(st.sampled_from(KINDS), st.sampled_from(SHARES), st.integers(0, 5), st.integers(1, 60))
def test_a_filter_is_never_violated_and_always_filled(kind: str, share: float, seed: int, k: int) -> None:
    _, row_I, table_RE = world(kind)
    allowed_R = mask(len(table_RE), share, seed)
    query_QE = clustered(4, DIM, seed)
    row_Qk, cosine_Qk = opened(kind).search(query_QE, k, allowed_R)
    allowed = row_I[allowed_R[row_I]]
    assert ((row_Qk != NO_ROW).sum(axis=1) == min(k, len(allowed))).all()
    for q in range(4):
        row_k = row_Qk[q][row_Qk[q] != NO_ROW]
        assert np.isin(row_k, allowed).all()
        assert len(np.unique(row_k)) == len(row_k)
        assert cosine_Qk[q, : len(row_k)] == pytest.approx(table_RE[row_k] @ query_QE[q], abs=1e-5)
        assert np.array_equal(np.lexsort((row_k, -cosine_Qk[q, : len(row_k)])), np.arange(len(row_k)))
        assert not cosine_Qk[q, len(row_k) :].any()


@given(st.sampled_from(KINDS), st.sampled_from((0, 0.0005, 0.01, 0.1, 0.19)), st.integers(0, 20), st.integers(1, 60))
def test_under_a_selective_filter_the_answer_is_exact(kind: str, share: float, seed: int, k: int) -> None:
    _, row_I, table_RE = world(kind)
    allowed_R = mask(len(table_RE), share, seed)
    allowed = row_I[allowed_R[row_I]]
    query_QE = clustered(3, DIM, seed + 1)
    row_Qk, cosine_Qk = opened(kind).search(query_QE, k, allowed_R)
    for q in range(3):
        _, cosine_k = brute_force(allowed, table_RE[allowed], query_QE[q], k)
        assert cosine_Qk[q, : len(cosine_k)] == pytest.approx(cosine_k, abs=1e-5)
        assert (row_Qk[q, len(cosine_k) :] == NO_ROW).all()


def test_queries_that_an_approximate_search_leaves_short_are_answered_exactly() -> None:
    _, row_I, table_RE = world("cells")
    index = built("cells", table_RE[row_I])
    faiss.extract_index_ivf(index).nprobe = 1
    query_QE = clustered(4, DIM, 7)
    far_R = table_RE @ query_QE[0] < 0  # what the first query may find lies in cells that it does not visit
    row_Qk, cosine_Qk = VectorIndex(index, row_I, table_RE, "v1").search(query_QE, 100, far_R)
    allowed = row_I[far_R[row_I]]
    assert len(allowed) > EXACT_SHARE * len(row_I)
    assert (row_Qk != NO_ROW).all()
    assert cosine_Qk[0] == pytest.approx(brute_force(allowed, table_RE[allowed], query_QE[0], 100)[1], abs=1e-5)


def test_the_one_row_that_is_allowed_is_found() -> None:
    _, row_I, table_RE = world("graph")
    allowed_R = np.zeros(len(table_RE), dtype=np.bool_)
    allowed_R[row_I[77]] = True
    row_Qk, _ = opened("graph").search(-table_RE[row_I[77:78]], 3, allowed_R)
    assert row_Qk.tolist() == [[row_I[77], NO_ROW, NO_ROW]]


@pytest.mark.parametrize("kind", ["graph", "codes"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.9, 1])
def test_recall_at_50(kind: str, share: float) -> None:
    index, vector_RE = _large(kind)
    allowed_R = mask(len(vector_RE), share, 3)
    allowed = np.flatnonzero(allowed_R)
    query_QE = vector_RE[::200]
    row_Qk, _ = VectorIndex(index, np.arange(len(vector_RE)), vector_RE, "v1").search(query_QE, 50, allowed_R)
    exact = [brute_force(allowed, vector_RE[allowed], query_E, 50)[0] for query_E in query_QE]
    found = [len(np.intersect1d(*pair)) / 50 for pair in zip(row_Qk, exact, strict=True)]
    assert np.mean(found) >= (0.95 if share >= EXACT_SHARE else 0.999)


@cache
def _large(kind: str) -> tuple[faiss.Index, Float32]:
    vector_RE = clustered(20_000, 32, 1)
    return built(kind, vector_RE), vector_RE


@given(st.sampled_from(KINDS), st.sampled_from((None, 0.05, 0.5)), st.integers(0, 20))
def test_an_answer_does_not_depend_on_who_asks_too(kind: str, share: float | None, seed: int) -> None:
    index, (_, _, table_RE) = opened(kind), world(kind)
    index.remove(np.arange(50))
    index.add(np.arange(7000, 7030), clustered(30, DIM, seed), "v1")
    allowed_R = None if share is None else mask(8000, share, seed)
    query_QE = np.concatenate([clustered(300, DIM, seed), table_RE[30:33]])
    together = index.search(query_QE, 7, allowed_R)
    for q in (0, 17, 255, 299, 302):
        alone = index.search(query_QE[q : q + 1], 7, allowed_R)
        assert alone[0][0].tobytes() == together[0][q].tobytes()
        assert alone[1][0].tobytes() == together[1][q].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_vectors_come_in_the_order_of_their_rows(kind: str) -> None:
    _, row_I, table_RE = world(kind)
    row_Qk, cosine_Qk = opened(kind).search(table_RE[row_I[100:110]], 2)
    assert row_Qk.tolist() == np.stack([row_I[10:20], row_I[100:110]], axis=1).tolist()
    assert np.array_equal(cosine_Qk[:, 0], cosine_Qk[:, 1])


def test_a_table_of_equal_vectors_answers_with_its_first_rows() -> None:
    vector_RE = np.tile(unit(np.ones((1, 5))), (20_000, 1))
    index = VectorIndex(built("flat", vector_RE), np.arange(20_000), vector_RE, "v1")
    assert index.search(vector_RE[:2], 5)[0].tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_queries_without_direction_find_nothing(kind: str) -> None:
    query_QE = np.ones((5, DIM), dtype=np.float32)
    query_QE[1], query_QE[2, 3], query_QE[3, 0] = 0, np.nan, -np.inf
    row_Qk, cosine_Qk = opened(kind).search(query_QE, 4)
    assert (row_Qk != NO_ROW).tolist() == [[True] * 4, [False] * 4, [False] * 4, [False] * 4, [True] * 4]
    assert not cosine_Qk[1:4].any()


def test_the_length_of_a_query_does_not_matter() -> None:
    query_QE = clustered(3, DIM, 4)
    assert opened("graph").search(query_QE * 1000, 4)[1] == pytest.approx(
        opened("graph").search(query_QE, 4)[1], abs=1e-6
    )


@pytest.mark.parametrize("kind", ["flat", "graph"])
def test_an_empty_index_finds_only_what_was_added(kind: str) -> None:
    none = np.empty((0, DIM), dtype=np.float32)
    index = VectorIndex(built(kind, none), np.empty(0, dtype=np.int64), none, "v1")
    query_QE = clustered(1, DIM, 0)
    assert index.search(query_QE, 2)[0].tolist() == [[NO_ROW, NO_ROW]]
    index.add(np.array([4]), query_QE, "v1")
    assert index.search(query_QE, 2)[0].tolist() == [[4, NO_ROW]]
    assert index.search(query_QE, 0)[0].shape == (1, 0)
    assert index.search(query_QE[:0], 2)[0].shape == (0, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_asking_for_more_than_there_is_gives_everything(kind: str) -> None:
    index, (_, row_I, _) = opened(kind), world(kind)
    index.remove(row_I[:10])
    row_Qk, _ = index.search(clustered(2, DIM, 0), len(row_I) + 5)
    assert np.array_equal(np.sort(row_Qk[0])[15:], row_I[10:])
    assert (row_Qk[:, -15:] == NO_ROW).all()


def test_places_of_the_index_may_be_in_any_order() -> None:
    _, row_I, table_RE = world("graph")
    shuffled_I = np.random.default_rng(0).permutation(row_I)
    index = VectorIndex(built("graph", table_RE[shuffled_I]), shuffled_I, table_RE, "v1")
    for allowed_R in (None, mask(len(table_RE), 0.1, 0)):
        query_QE = clustered(20, DIM, 3)
        assert np.array_equal(index.search(query_QE, 5, allowed_R)[0], opened("flat").search(query_QE, 5, allowed_R)[0])


def test_an_index_that_does_not_fit_its_table_is_refused() -> None:
    index, row_I, table_RE = world("flat")
    for arguments in ((index, row_I[:-1], table_RE), (index, row_I, table_RE[:, :4]), (index, row_I, table_RE[:-1])):
        with pytest.raises(ValueError, match="the FAISS index"):
            VectorIndex(*arguments, "v1")


def test_a_filter_or_query_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="the filter covers 7 rows"):
        opened("flat").search(clustered(1, DIM, 0), 3, np.ones(7, dtype=np.bool_))
    with pytest.raises(ValueError, match="the index has width 8"):
        opened("flat").search(clustered(1, 9, 0), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_is_found(kind: str) -> None:
    index, (_, row_I, _) = opened(kind), world(kind)
    vector_NE = clustered(3, DIM, 9)
    index.add(
        np.array([int(row_I[5]), 0, 9999]), 3 * vector_NE, "v1"
    )  # a known row, one without vector, one beyond the table
    row_Qk, cosine_Qk = index.search(vector_NE, 1)
    assert row_Qk[:, 0].tolist() == [row_I[5], 0, 9999]
    assert cosine_Qk[:, 0] == pytest.approx(np.ones(3))
    assert index.now.vectors_of(np.array([row_I[5], 0, 9999, 12345, -1])) == pytest.approx(
        np.concatenate([vector_NE, np.zeros((2, DIM))]), abs=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_replaced_vector_is_found_at_its_new_place_only(kind: str) -> None:
    index, (_, row_I, table_RE) = opened(kind), world(kind)
    old_QE = table_RE[row_I[500:501]]
    index.add(row_I[500:501], -old_QE, "v1")
    index.add(row_I[500:501], -old_QE, "v1")
    row_Qk, cosine_Qk = index.search(np.concatenate([old_QE, -old_QE]), len(row_I))
    assert row_Qk[1, 0] == row_I[500]
    assert (row_Qk == row_I[500]).sum(axis=1).tolist() == [1, 1]
    assert cosine_Qk[0, row_Qk[0] == row_I[500]] == pytest.approx(-1)


def test_the_last_vector_of_a_row_counts() -> None:
    index, vector_NE = opened("flat"), clustered(2, DIM, 9)
    index.add(np.array([9000, 9000]), vector_NE, "v1")
    assert index.now.vectors_of(np.array([9000])) == pytest.approx(vector_NE[1:], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_removed_is_gone_until_it_is_added_again(kind: str) -> None:
    index, (_, row_I, table_RE) = opened(kind), world(kind)
    query_QE = table_RE[row_I[1000:1001]]
    near = index.search(query_QE, 40)[0][0]
    index.remove(np.append(near[:20], [-1, 123_456]))
    row_Qk, _ = index.search(query_QE, 20)
    assert row_Qk[0].tolist() == near[20:].tolist()
    assert not index.now.vectors_of(near[:20]).any()
    index.add(near[:1], query_QE, "v1")
    assert index.search(query_QE, 1)[0].tolist() == [[near[0]]]
    index.remove(near[:1])
    assert index.search(query_QE, 1)[0].tolist() == [[near[20]]]


def test_a_filter_holds_for_added_rows_too() -> None:
    index, vector_NE = opened("graph"), clustered(2, DIM, 9)
    index.add(np.array([6000, 6001]), vector_NE, "v1")
    allowed_R = np.ones(6001, dtype=np.bool_)
    row_Qk, _ = index.search(vector_NE, 30, allowed_R)
    assert row_Qk[0, 0] == 6000
    assert 6001 not in row_Qk  # the filter does not know it
    allowed_R[6000] = False
    assert 6000 not in index.search(vector_NE, 30, allowed_R)[0]


def test_another_embedding_version_is_refused() -> None:
    index = opened("flat")
    with pytest.raises(EmbeddingVersionMismatch, match=r"version 'v1'.*'v2'.*activate the bundle") as caught:
        index.add(np.array([1]), clustered(1, DIM, 0), "v2")
    assert (caught.value.ours, caught.value.theirs) == ("v1", "v2")
    assert (index.version, index.dim) == ("v1", DIM)


@pytest.mark.parametrize("broken", [0, np.nan, np.inf])
def test_a_vector_without_direction_is_refused_by_its_row(broken: float) -> None:
    index, vector_NE = opened("flat"), clustered(3, DIM, 0)
    vector_NE[1] = broken
    with pytest.raises(ValueError, match="row 71 cannot"):
        index.add(np.array([70, 71, 72]), vector_NE, "v1")
    with pytest.raises(ValueError, match="width must be 8"):
        index.add(np.array([70]), vector_NE[:1, :4], "v1")
    with pytest.raises(ValueError, match="row -1 cannot"):
        index.add(np.array([-1]), vector_NE[:1], "v1")
    assert len(index.now.added_row_N) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_answers_the_same_from_files(kind: str, tmp_path: Path) -> None:
    index, row_I, table_RE = world(kind)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    np.save(tmp_path / "vectors.npy", table_RE)
    loaded = faiss.read_index(str(tmp_path / "index.faiss"))
    mapped_RE = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    reopened = VectorIndex(loaded, row_I, mapped_RE, "v1")
    for allowed_R in (None, mask(len(table_RE), 0.05, 1), mask(len(table_RE), 0.5, 1)):
        query_QE = clustered(30, DIM, 2)
        before, after = opened(kind).search(query_QE, 9, allowed_R), reopened.search(query_QE, 9, allowed_R)
        assert before[0].tobytes() == after[0].tobytes()
        assert before[1].tobytes() == after[1].tobytes()


@pytest.mark.parametrize("kind", ["graph", "codes"])
def test_readers_see_every_write_wholly_or_not_at_all(kind: str) -> None:
    index, vector_NE = opened(kind), clustered(2, DIM, 50)
    vector_NE[1] = vector_NE[0]  # two rows that come, and go, together
    pair, anchor = np.array([8000, 8001]), world(kind)[1][:1]
    steady = np.array([8002])  # replaced all the time, and never gone
    index.add(steady, vector_NE[:1], "v1")
    removed = threading.Event()
    was_read = threading.Semaphore(0)  # one write per read, so that both go on until the end
    found: list[int] = []
    failures: list[BaseException] = []

    def look() -> None:
        gone = removed.is_set()
        row_Qk, cosine_Qk = index.search(vector_NE[:1], len(world(kind)[1]) + 3)
        place = np.flatnonzero(np.isin(row_Qk[0], pair))
        assert len(place) == 0 or cosine_Qk[0, place[0]] == cosine_Qk[0, place[-1]]
        found.append(len(place))
        assert steady[0] in row_Qk[0]
        near = index.search(world(kind)[2][anchor], 10)[0]
        assert not (gone and anchor[0] in near)

    def read() -> None:
        for _ in range(150):
            try:
                look()
            except BaseException as error:
                failures.append(error)
            was_read.release()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    index.remove(anchor)
    removed.set()
    for _ in range(150):
        index.add(pair, vector_NE, "v1")
        was_read.acquire()
        index.add(np.append(pair, steady), -vector_NE[[0, 1, 0]], "v1")
        was_read.acquire()
        index.remove(pair)
        was_read.acquire()
    for reader in readers:
        reader.join()
    assert failures == []
    assert set(found) == {0, 2}
    assert not np.isin(index.search(vector_NE, 50)[0], np.append(pair, anchor)).any()
