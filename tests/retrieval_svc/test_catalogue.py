from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from bundles import layout
from bundles.errors import BundleCorrupt, UnknownFile
from features.counters import DAY_MS
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.tables import BrokenColumn
from tests.retrieval_svc.published import publish, write
from tests.retrieval_svc.worlds import hand_made

FILES = sorted(
    value
    for name, value in vars(layout).items()
    if name.isupper() and isinstance(value, str) and value not in (layout.ITEMS, layout.RERANK_EMBEDDINGS)
)


def media_ids(catalogue: Catalogue, rows: np.ndarray) -> list[int]:
    return catalogue.items.media_id_M[rows].tolist()


def test_a_published_catalogue_opens_as_it_was_written(tmp_path: Path, catalogue: Catalogue) -> None:
    opened = Catalogue.open(publish(tmp_path))
    assert media_ids(opened, opened.trends(None).row_M) == media_ids(catalogue, catalogue.trends(None).row_M)
    assert opened.accounts.neighbours(np.array([0]), 1)[0].tolist() == [[1]]
    assert opened.media.search(opened.items.media_vector_MD[:1], 1)[0].tolist() == [[0]]
    assert opened.tables.co_occurring.row_X.tolist() == catalogue.tables.co_occurring.row_X.tolist()
    assert opened.has_integrity_scores


def test_every_order_is_what_its_name_says(catalogue: Catalogue) -> None:
    orders, lately = catalogue.orders, catalogue.trends(None)
    assert media_ids(catalogue, lately.row_M)[:5] == [402, 302, 202, 102, 401]
    assert media_ids(catalogue, orders.newest_row_M)[:5] == [402, 302, 202, 102, 401]
    assert media_ids(catalogue, orders.posted_row_M)[:4] == [102, 101, 100, 202]
    assert media_ids(catalogue, lately.topic_row[: lately.topic_offsets[1]]) == [202, 102, 201, 101, 200, 100]
    assert (np.diff(orders.newest_created_ms_M) <= 0).all()


def test_a_window_has_an_order_of_its_own(catalogue: Catalogue) -> None:
    value_M = catalogue.tables.window_value_WM[1]
    assert catalogue.trends(2 * DAY_MS).row_M.tolist() == np.argsort(-value_M, kind="stable").tolist()


def test_the_vocabulary_is_what_the_bundle_offers(catalogue: Catalogue) -> None:
    assert catalogue.vocabulary.topics == ("food", "art")
    assert catalogue.vocabulary.windows_ms == (DAY_MS, 2 * DAY_MS, 7 * DAY_MS)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    bundle = publish(tmp_path, lambda staged: (staged / file).unlink())
    with pytest.raises(UnknownFile, match=file):
        Catalogue.open(bundle)


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_garbage_is_named(tmp_path: Path, file: str) -> None:
    bundle = publish(tmp_path, lambda staged: (staged / file).write_bytes(b"garbage"))
    with pytest.raises(BundleCorrupt, match=file):
        Catalogue.open(bundle)


def test_a_missing_item_column_is_named(tmp_path: Path) -> None:
    bundle = publish(tmp_path, lambda staged: (staged / layout.ITEMS / "topic_M.npy").unlink())
    with pytest.raises(BundleCorrupt, match=r"topic_M\.npy"):
        Catalogue.open(bundle)


def test_a_column_of_floats_is_no_column_of_rows(tmp_path: Path) -> None:
    bundle = publish(tmp_path, lambda staged: np.save(staged / layout.ACCOUNT_INDEX_ROWS, np.ones(4)))
    with pytest.raises(BundleCorrupt, match=r"index_rows\.npy.*float64"):
        Catalogue.open(bundle)


def _save(file: str, array: Any) -> Callable[[Path], None]:
    return lambda root: np.save(root / file, np.asarray(array))


def _index(index: faiss.Index) -> Callable[[Path], None]:
    return lambda root: faiss.write_index(index, str(root / layout.ACCOUNT_INDEX))


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (_save(layout.ACCOUNT_INDEX_ROWS, [0, 1, 2, 4]), layout.ACCOUNT_INDEX_ROWS),
        (_save(layout.ACCOUNT_INDEX_ROWS, [0, 1]), layout.ACCOUNT_INDEX_ROWS),
        (_index(faiss.IndexFlatIP(3)), layout.ACCOUNT_INDEX),
        (_index(faiss.IndexFlatL2(2)), layout.ACCOUNT_INDEX),
        (_save(layout.ACCOUNT_MEDIA_OFFSETS, [0, 12]), layout.ACCOUNT_MEDIA_OFFSETS),
        (_save(layout.ACCOUNT_MEDIA_OFFSETS, [0, 6, 3, 9, 12]), layout.ACCOUNT_MEDIA_OFFSETS),
        (_save(layout.ACCOUNT_MEDIA_ROWS, np.arange(12) + 1), layout.ACCOUNT_MEDIA_ROWS),
        (_save(layout.ACCOUNT_NEIGHBOURS, np.zeros((3, 2), np.int32)), layout.ACCOUNT_NEIGHBOURS),
        (_save(layout.ACCOUNT_NEIGHBOURS, np.full((4, 4), 4, np.int32)), layout.ACCOUNT_NEIGHBOURS),
        (_save(layout.CO_OCCURRING_SCORES, np.ones(1)), layout.CO_OCCURRING_SCORES),
        (_save(layout.TRENDING_VALUES, np.ones((3, 11))), layout.TRENDING_VALUES),
        (_save(layout.SEGMENT_OFFSETS, [0]), layout.SEGMENT_OFFSETS),
    ],
)
def test_arrays_that_do_not_fit_together_are_named(tmp_path: Path, spoil: Callable[[Path], None], file: str) -> None:
    write(hand_made(), tmp_path)
    spoil(tmp_path)
    with pytest.raises(BrokenColumn, match=file):
        Catalogue.of_files(lambda relative: tmp_path / relative)


@pytest.mark.parametrize("file", [layout.ACCOUNT_EMBEDDING, layout.MEDIA_EMBEDDING])
def test_vectors_of_another_embedding_version_are_refused(tmp_path: Path, file: str) -> None:
    write(hand_made(), tmp_path)
    about = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps({**about, "version": "0123456789abcdef"}))
    with pytest.raises(BrokenColumn, match=rf"{file}.*0123456789abcdef, the item table holds {about['version']}"):
        Catalogue.of_files(lambda relative: tmp_path / relative)


@pytest.mark.parametrize(("column", "value"), [("author_row_M", 4), ("author_row_M", -1), ("topic_M", 2)])
def test_an_item_column_that_points_nowhere_is_named(tmp_path: Path, column: str, value: int) -> None:
    items = hand_made()
    write(items, tmp_path)
    spoilt = getattr(items, column).copy()
    spoilt[3] = value
    np.save(tmp_path / layout.ITEMS / f"{column}.npy", spoilt)
    with pytest.raises(BrokenColumn, match=column):
        Catalogue.of_files(lambda relative: tmp_path / relative)
