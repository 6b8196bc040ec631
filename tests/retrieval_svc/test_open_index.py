"""An index that is mapped answers as one that is read, and takes no memory before somebody searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from retrieval_svc.vector_index import open_index

KINDS = ("Flat", "HNSW16", "IVF16,PQ8x4fs,Refine(SQ8)")


def _written(kind: str, path: Path) -> tuple[Any, np.ndarray]:
    vectors = np.random.default_rng(0).normal(size=(2_000, 16)).astype(np.float32)
    index = faiss.index_factory(16, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(path))
    return index, vectors


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_index_finds_the_same(kind: str, tmp_path: Path) -> None:
    index, vectors = _written(kind, tmp_path / "index.faiss")
    opened = open_index(tmp_path / "index.faiss")
    for expected, found in zip(index.search(vectors[:100], 5), opened.search(vectors[:100], 5), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_it_outlives_its_file(kind: str, tmp_path: Path) -> None:
    index, vectors = _written(kind, tmp_path / "index.faiss")
    opened = open_index(tmp_path / "index.faiss")
    (tmp_path / "index.faiss").unlink()
    np.testing.assert_array_equal(opened.search(vectors[:10], 5)[1], index.search(vectors[:10], 5)[1])


def test_opening_leaves_nothing_resident(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    _, vectors = _written("HNSW16", path)
    opened = open_index(path)
    assert _resident_kb(path) == 0
    opened.search(vectors[:1], 5)
    assert _resident_kb(path) > 0


@pytest.mark.parametrize("keep", [0, 10, 5_000])
def test_half_a_file_is_no_index(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    _written("HNSW16", path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises((ValueError, RuntimeError)):
        open_index(path)


def _resident_kb(path: Path) -> int:
    resident, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split(maxsplit=5)
        if "-" in words[0]:
            inside = len(words) == 6 and words[5] == str(path)
        elif inside and words[0] == "Rss:":
            resident += int(words[1])
    return resident
