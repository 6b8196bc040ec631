"""The index of vectors: which of them are in it, how good it must be, and the version of what it holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from tests.training.sourcing.worlds import clustered, unit_vectors
from training.errors import ConfigError, ExportError
from training.sourcing.config import IndexConfig, IndexKind
from training.sourcing.vector_index import (
    MIN_RECALL,
    IndexQuality,
    build_index,
    embedding_info,
    measured_recall,
    search_widely,
)

KINDS: tuple[IndexKind, ...] = ("exact", "hnsw", "ivf_pq")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_planted_neighbours_and_knows_which_row_is_which(kind: IndexKind) -> None:
    vectors = clustered(5_000)
    vectors[::7] = 0
    found = build_index("an index", vectors, IndexConfig(kind=kind))
    assert found.quality.kind == kind
    assert found.quality.vectors == found.index.ntotal == len(found.row_I)
    assert found.quality.recall >= MIN_RECALL
    assert vectors[found.row_I].any(axis=1).all()
    assert set(range(0, 5_000, 7)).isdisjoint(found.row_I.tolist())
    _, place = found.index.search(vectors[[1, 4_999]], 1)
    assert found.row_I[place[:, 0]].tolist() == [1, 4_999]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_answers_bit_for_bit_as_the_one_that_was_measured(kind: IndexKind, tmp_path: Path) -> None:
    vectors = clustered(2_000)
    index = build_index("an index", vectors, IndexConfig(kind=kind)).index
    faiss.write_index(index, str(tmp_path / "index"))
    saved = faiss.read_index(str(tmp_path / "index"))
    assert [found.tobytes() for found in saved.search(vectors, 20)] == [
        found.tobytes() for found in index.search(vectors, 20)
    ]


def test_auto_scans_below_the_threshold_and_builds_a_graph_above() -> None:
    vectors = unit_vectors(3_000)
    assert build_index("an index", vectors, IndexConfig(exact_below=3_001)).quality == IndexQuality("exact", 3_000, 1.0)
    assert build_index("an index", vectors, IndexConfig(exact_below=3_000)).quality.kind == "hnsw"


def test_auto_scans_when_equal_vectors_break_the_graph() -> None:
    """Half of the vectors are one of five: the graph's links all end at equals."""
    vectors = np.concatenate([np.repeat(unit_vectors(5, seed=1), 400, axis=0), unit_vectors(2_000)])
    config = IndexConfig(exact_below=0, widen=1)
    with pytest.raises(ExportError, match="an index"):
        build_index("an index", vectors, IndexConfig(kind="hnsw", widen=1))
    assert build_index("an index", vectors, config).quality == IndexQuality("exact", 4_000, 1.0)


def test_of_equal_vectors_any_counts_as_found() -> None:
    vectors = np.repeat(unit_vectors(3), 100, axis=0)
    place = np.arange(300)
    renamed: Any = faiss.IndexIDMap(faiss.IndexFlatIP(vectors.shape[1]))
    renamed.add_with_ids(vectors, place + 99 - 2 * (place % 100))  # the last of the equals answers for the first
    assert measured_recall(renamed, vectors) == 1.0


def test_an_index_of_other_vectors_fails_the_measurement() -> None:
    other = build_index("an index", unit_vectors(3_000, seed=1)).index
    assert measured_recall(other, unit_vectors(3_000)) < 0.1


def test_a_search_that_may_not_look_far_enough_is_refused() -> None:
    config = IndexConfig(kind="hnsw", ef_construction=4, ef_search=1, widen=1)
    with pytest.raises(ExportError, match=re.escape("the account index: recall@50 of hnsw is 0.")):
        build_index("the account index", unit_vectors(3_000), config)


def test_a_search_widens_until_it_passes_and_is_saved_so(tmp_path: Path) -> None:
    vectors = clustered(2_000)
    index = build_index("an index", vectors, IndexConfig(kind="ivf_pq", probes=1, widen=1_024)).index
    faiss.write_index(index, str(tmp_path / "index"))
    probes = faiss.extract_index_ivf(faiss.read_index(str(tmp_path / "index"))).nprobe
    assert probes == faiss.extract_index_ivf(index).nprobe > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_search_finds_as_much_and_leaves_the_settings_alone(kind: IndexKind) -> None:
    vectors = clustered(2_000)
    index = build_index("an index", vectors, IndexConfig(kind=kind)).index
    before = index.search(vectors[:50], 10)[1]
    assert search_widely(index, kind, vectors[:50], 10)[:, 0].tolist() == list(range(50))
    np.testing.assert_array_equal(index.search(vectors[:50], 10)[1], before)


@pytest.mark.parametrize("kind", ["auto", *KINDS])
@pytest.mark.parametrize("count", [0, 1])
def test_next_to_nothing_can_be_indexed(kind: IndexKind, count: int) -> None:
    found = build_index("an index", unit_vectors(count), IndexConfig(kind=kind))
    assert (found.quality.vectors, found.quality.recall, found.index.ntotal) == (count, 1.0, count)


def test_odd_dimensions_can_be_coded() -> None:
    assert build_index("an index", clustered(2_000, dim=9), IndexConfig(kind="ivf_pq")).quality.kind == "ivf_pq"


def test_building_says_how_far_it_is_and_gives_the_cores_back() -> None:
    said: list[tuple[int, int]] = []
    faiss.omp_set_num_threads(1)
    build_index("an index", unit_vectors(9_000, dim=4), progress=lambda done, total: said.append((done, total)))
    assert said == [(8_192, 9_000), (9_000, 9_000)]
    assert faiss.omp_get_max_threads() == 1


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"IndexConfig\.kind = 'lsh': take one of: auto, exact, hnsw, ivf_pq"):
        IndexConfig(kind="lsh")  # type: ignore[arg-type]


def test_the_version_of_an_embedding_changes_with_any_number_of_it() -> None:
    vectors = np.array([[1, 0], [0, 0], [0.6, 0.8]], dtype=np.float32)
    info = embedding_info(vectors, 77)
    assert re.fullmatch("[0-9a-f]{16}", info.pop("version"))
    assert info == {"name": "default", "dim": 2, "vectors": 2, "trained_until_ms": 77}
    changed = vectors.copy()
    changed[2, 1] = np.nextafter(changed[2, 1], np.float32(1))
    variants: list[Any] = [
        vectors,
        changed,
        vectors[:2],
        vectors.reshape(2, 3),
        vectors.astype(np.float64),
        vectors[::-1],
    ]
    assert len({embedding_info(variant, 77)["version"] for variant in variants}) == len(variants)
    assert embedding_info(np.asfortranarray(vectors), 0)["version"] == embedding_info(vectors, 1)["version"]
