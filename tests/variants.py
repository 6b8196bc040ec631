"""Bundles that differ from a trained one in a single thing, without training again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bundles import layout
from bundles.manifest import Manifest
from bundles.store import BundleStore

_STATED_BY_STORE = {"format_version", "version", "created_at_ms", "files"}


def variant(
    store: BundleStore, version: str, spoil: Callable[[Path], object] = lambda staged: None, **fields: Any
) -> Manifest:
    """Publishes a copy of a version with other `fields` in its manifest, after `spoil` had its way with the files."""
    stated = {name: value for name, value in store.manifest(version) if name not in _STATED_BY_STORE}
    with store.stage() as staged:
        for relative in store.manifest(version).files:
            (staged / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.root / version / relative, staged / relative)
        spoil(staged)
        return store.publish(staged, **{**stated, **fields})


def without_ids(staged: Path) -> None:
    """Makes the deep ranker's embeddings of all media, accounts and topics zero."""
    for path in (staged / layout.RERANK_EMBEDDINGS).iterdir():
        np.save(path, np.zeros_like(np.load(path)))
