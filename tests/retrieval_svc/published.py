"""Bundles on disk that hold the sourcing artefacts of the hand-made world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from features.item_table import ItemTable
from tests.retrieval_svc.worlds import NOW, account_files, hand_made


def write(items: ItemTable, root: Path) -> None:
    """All files that `Catalogue.open` reads."""
    index, index_rows, offsets, rows = account_files(items)
    items.save(root / layout.ITEMS)
    (root / "accounts").mkdir()
    faiss.write_index(index, str(root / layout.ACCOUNT_INDEX))
    np.save(root / layout.ACCOUNT_INDEX_ROWS, index_rows)
    np.save(root / layout.ACCOUNT_MEDIA_OFFSETS, offsets)
    np.save(root / layout.ACCOUNT_MEDIA_ROWS, rows.astype(np.int32))


def publish(root: Path, spoil: Callable[[Path], object] = lambda staged: None) -> Bundle:
    """An active bundle of the hand-made world, after `spoil` had its way with the files."""
    store = BundleStore(root)
    with store.stage() as staged:
        write(hand_made(), staged)
        spoil(staged)
        manifest = store.publish(
            staged,
            parent=None,
            dataset="hand-made",
            as_of_ms=NOW,
            training_window_start_ms=0,
            training_window_end_ms=NOW,
            schema_fingerprint=FINGERPRINT,
            tasks=("click",),
            value_weights={"default": {"click": 1.0}},
            metrics={},
            library_versions={},
            command="tests",
        )
    store.activate(manifest.version)
    return store.open(manifest.version, FINGERPRINT)
