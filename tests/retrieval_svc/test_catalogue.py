from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from bundles import layout
from bundles.errors import BundleCorrupt, UnknownFile
from retrieval_svc.catalogue import BrokenColumn, Catalogue
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import account_files, hand_made

FILES = (layout.ACCOUNT_INDEX, layout.ACCOUNT_INDEX_ROWS, layout.ACCOUNT_MEDIA_OFFSETS, layout.ACCOUNT_MEDIA_ROWS)


def media_ids(catalogue: Catalogue, rows: np.ndarray) -> list[int]:
    return catalogue.items.media_id_M[rows].tolist()


def test_a_published_catalogue_opens_as_it_was_written(tmp_path: Path, catalogue: Catalogue) -> None:
    opened = Catalogue.open(publish(tmp_path))
    assert media_ids(opened, opened.orders.trending_row_M) == media_ids(catalogue, catalogue.orders.trending_row_M)
    assert opened.accounts.neighbours(np.array([0]), 1)[0].tolist() == [[1]]
    assert opened.has_integrity_scores


def test_every_order_is_what_its_name_says(catalogue: Catalogue) -> None:
    orders = catalogue.orders
    assert media_ids(catalogue, orders.trending_row_M)[:5] == [402, 302, 202, 102, 401]
    assert media_ids(catalogue, orders.newest_row_M)[:5] == [402, 302, 202, 102, 401]
    assert media_ids(catalogue, orders.posted_row_M)[:4] == [102, 101, 100, 202]
    assert media_ids(catalogue, orders.topic_row[: orders.topic_offsets[1]]) == [202, 102, 201, 101, 200, 100]
    assert (np.diff(orders.newest_created_ms_M) <= 0).all()


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


@pytest.mark.parametrize(
    ("broken", "file"),
    [
        ({"index_rows_I": np.array([0, 1, 2, 4])}, layout.ACCOUNT_INDEX_ROWS),
        ({"index_rows_I": np.array([0, 1])}, layout.ACCOUNT_INDEX_ROWS),
        ({"index": faiss.IndexFlatIP(3)}, layout.ACCOUNT_INDEX),
        ({"index": faiss.IndexFlatL2(2)}, layout.ACCOUNT_INDEX),
        ({"media_offsets": np.array([0, 12])}, layout.ACCOUNT_MEDIA_OFFSETS),
        ({"media_offsets": np.array([0, 6, 3, 9, 12])}, layout.ACCOUNT_MEDIA_OFFSETS),
        ({"media_row_M": np.arange(12) + 1}, layout.ACCOUNT_MEDIA_ROWS),
    ],
)
def test_arrays_that_do_not_fit_together_are_named(broken: dict[str, Any], file: str) -> None:
    items = hand_made()
    names = ("index", "index_rows_I", "media_offsets", "media_row_M")
    arrays: dict[str, Any] = dict(zip(names, account_files(items), strict=True)) | broken
    with pytest.raises(BrokenColumn, match=file):
        Catalogue.assemble(items, **arrays)


@pytest.mark.parametrize(("column", "value"), [("author_row_M", 4), ("author_row_M", -1), ("topic_M", 2)])
def test_an_item_column_that_points_nowhere_is_named(column: str, value: int) -> None:
    items = hand_made()
    files = account_files(items)
    getattr(items, column)[3] = value
    with pytest.raises(BrokenColumn, match=column):
        Catalogue.assemble(items, *files)
