"""Bundles on disk that hold the sourcing artefacts of the hand-made world."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from features.item_table import ItemTable
from features.vectors import embedding_version
from tests.retrieval_svc.worlds import NOW, exact_index, hand_made, neighbour_lists, tables_of


def write(items: ItemTable, root: Path) -> None:
    """All files that `Catalogue.of_files` reads."""
    items.save(root / layout.ITEMS)
    for directory in ("accounts", "media", "trending"):
        (root / directory).mkdir()
    _write_index(
        root, items.account_vector_UE, (layout.ACCOUNT_INDEX, layout.ACCOUNT_INDEX_ROWS), layout.ACCOUNT_EMBEDDING
    )
    _write_index(root, items.media_vector_MD, (layout.MEDIA_INDEX, layout.MEDIA_INDEX_ROWS), layout.MEDIA_EMBEDDING)
    near_UK, cosine_UK = neighbour_lists(items)
    tables = tables_of(items)
    arrays: dict[str, NDArray[Any] | None] = {
        layout.ACCOUNT_NEIGHBOURS: near_UK,
        layout.ACCOUNT_NEIGHBOUR_COSINES: cosine_UK,
        layout.ACCOUNT_MEDIA_OFFSETS: tables.posted.offsets,
        layout.ACCOUNT_MEDIA_ROWS: tables.posted.row_X,
        layout.ACCOUNT_FOLLOW_OFFSETS: tables.follows.offsets,
        layout.ACCOUNT_FOLLOW_ROWS: tables.follows.row_X,
        layout.ACCOUNT_ENGAGED_OFFSETS: tables.engaged.offsets,
        layout.ACCOUNT_ENGAGED_ROWS: tables.engaged.row_X,
        layout.CO_OCCURRING_OFFSETS: tables.co_occurring.offsets,
        layout.CO_OCCURRING_ROWS: tables.co_occurring.row_X,
        layout.CO_OCCURRING_SCORES: tables.co_occurring.score_X,
        layout.TRENDING_VALUES: tables.window_value_WM,
        layout.SEGMENT_OFFSETS: tables.segment_media.offsets,
        layout.SEGMENT_ROWS: tables.segment_media.row_X,
    }
    for name, array in arrays.items():
        assert array is not None
        np.save(root / name, array)
    windows = {"windows_ms": list(tables.windows_ms), "segments": list(tables.segments)}
    (root / layout.TRENDING).write_text(json.dumps(windows))


def _write_index(root: Path, vectors: NDArray[np.float32], names: tuple[str, str], about: str) -> None:
    index, row_I = exact_index(vectors)
    faiss.write_index(index, str(root / names[0]))
    np.save(root / names[1], row_I)
    text = {"name": "default", "version": embedding_version(vectors), "dim": index.d, "vectors": index.ntotal}
    (root / about).write_text(json.dumps({**text, "trained_until_ms": NOW}))


def publish(
    root: Path,
    spoil: Callable[[Path], object] = lambda staged: None,
    weights: dict[str, dict[str, float]] | None = None,
) -> Bundle:
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
            value_weights=weights or {"default": {"click": 1.0}},
            metrics={},
            library_versions={},
            command="tests",
        )
    store.activate(manifest.version)
    return store.open(manifest.version, FINGERPRINT)
