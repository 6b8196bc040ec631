"""A store with a clock that the test moves, and a way to publish small bundles."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles.manifest import Manifest, ManifestFields
from bundles.push import Pusher
from bundles.remote import RemoteStore
from bundles.store import BundleStore
from tests.bundles.remotes import AT_ONCE

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


def publish_into(store: BundleStore, files: dict[str, bytes]) -> Manifest:
    """Publishes files of these names and contents."""
    with store.stage() as staged:
        for name, content in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_bytes(content)
        return store.publish(staged, **fields())


@pytest.fixture
def publish(store: BundleStore) -> Publish:
    return lambda files: publish_into(store, files)


@pytest.fixture(params=["memory", "file"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> RemoteStore:
    """An empty remote store: objects, and files that are renamed into place."""
    return RemoteStore(
        f"memory://{uuid.uuid4().hex}/bundles" if request.param == "memory" else f"file://{tmp_path}/remote"
    )


@pytest.fixture
def pushed(store: BundleStore, remote: RemoteStore) -> Callable[..., str]:
    """Publishes files and pushes them. Returns the version."""
    pusher = Pusher(store, remote, AT_ONCE)

    def push_files(files: dict[str, bytes], hold: bool = False) -> str:
        return pusher.push(publish_into(store, files).version, hold).version

    return push_files


@pytest.fixture
def node(tmp_path: Path) -> BundleStore:
    """An empty root on another machine."""
    return BundleStore(tmp_path / "node")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Commands that run in this process say where their log goes; later tests must not hear of it."""
    logger = logging.getLogger("bundles")
    before = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])
