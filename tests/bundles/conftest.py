"""A store with a clock that the test moves, and a way to publish small bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundles.manifest import Manifest, ManifestFields
from bundles.store import BundleStore

Publish = Callable[[dict[str, bytes]], Manifest]

MONDAY_MS = 1_767_571_200_123


def fields() -> ManifestFields:
    """What a publisher states, valid and small."""
    return {
        "parent": None,
        "dataset": "synthetic",
        "as_of_ms": 1_000_000,
        "training_window_start_ms": 0,
        "training_window_end_ms": 1_000_000,
        "schema_fingerprint": "f00d",
        "tasks": ("click", "negative"),
        "value_weights": {"default": {"click": 1.0, "negative": -5.0}},
        "metrics": {"rank": {"auc": 0.7, "per_task": [0.7, None]}},
        "library_versions": {"numpy": "2.4.6"},
        "command": "explore train",
    }


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    ticks = iter(range(MONDAY_MS, MONDAY_MS + 1000))
    return BundleStore(tmp_path / "bundles", now_ms=lambda: next(ticks))


@pytest.fixture
def publish(store: BundleStore) -> Publish:
    def publish_files(files: dict[str, bytes]) -> Manifest:
        with store.stage() as staged:
            for name, content in files.items():
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                (staged / name).write_bytes(content)
            return store.publish(staged, **fields())

    return publish_files
