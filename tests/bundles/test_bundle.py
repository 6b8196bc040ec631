"""Opening finds every way in which a directory can differ from what was published."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bundles.errors import BundleCorrupt, SchemaMismatch, UnknownFile, UnsupportedFormat
from bundles.manifest import FORMAT_VERSION
from bundles.store import BundleStore
from tests.bundles.conftest import Publish


@pytest.fixture
def path(store: BundleStore, publish: Publish) -> Path:
    """A published bundle, made writable for the test to damage."""
    path = store.root / publish({"rank/model.onnx": b"graph", "items.npy": b"items"}).version
    for entry in [path, *path.rglob("*")]:
        entry.chmod(0o755)
    return path


def change_manifest(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    raw = json.loads((path / "manifest.json").read_text())
    change(raw)
    (path / "manifest.json").write_text(json.dumps(raw))


def _truncate(path: Path) -> None:
    (path / "items.npy").write_bytes(b"item")


def _flip_a_byte(path: Path) -> None:
    (path / "items.npy").write_bytes(b"itemz")


def _remove(path: Path) -> None:
    (path / "items.npy").unlink()


def _replace_by_a_link(path: Path) -> None:
    (path / "items.npy").unlink()
    os.symlink("rank/model.onnx", path / "items.npy")


@pytest.mark.parametrize("damage", [_truncate, _flip_a_byte, _remove, _replace_by_a_link])
def test_damaged_file_is_named(store: BundleStore, path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    with pytest.raises(BundleCorrupt, match=rf"{path.name}: items\.npy: .*; copy or publish"):
        store.open(path.name, "f00d")


def test_file_that_is_not_in_the_manifest_is_named(store: BundleStore, path: Path) -> None:
    (path / "rank/extra").write_bytes(b"")
    with pytest.raises(BundleCorrupt, match="rank/extra"):
        store.open(path.name, "f00d")


def test_manifest_that_reaches_outside_the_bundle_is_refused(store: BundleStore, path: Path) -> None:
    entry = {"sha256": "0" * 64, "size": 0}
    change_manifest(path, lambda raw: raw.update(files={"../../secret": entry}))
    with pytest.raises(BundleCorrupt, match=r"manifest\.json: .*secret"):
        store.open(path.name, "f00d")


def test_edited_manifest_is_refused(store: BundleStore, path: Path) -> None:
    change_manifest(path, lambda raw: raw.update(command="something else"))
    with pytest.raises(BundleCorrupt, match="published with"):
        store.open(path.name, "f00d")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_unreadable_manifest_is_refused(store: BundleStore, path: Path, content: bytes) -> None:
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleCorrupt, match="cannot be read"):
        store.open(path.name, "f00d")


@pytest.mark.parametrize("found", [0, FORMAT_VERSION - 1, FORMAT_VERSION + 1, str(FORMAT_VERSION), None])
def test_other_format_is_refused_before_its_fields_are_read(store: BundleStore, path: Path, found: object) -> None:
    (path / "manifest.json").write_text(json.dumps({"format_version": found, "unheard": "of"}))
    with pytest.raises(UnsupportedFormat, match=f"this software reads {FORMAT_VERSION}"):
        store.open(path.name, "f00d")


def test_manifest_that_is_no_object_is_refused(store: BundleStore, path: Path) -> None:
    (path / "manifest.json").write_text("[]")
    with pytest.raises(UnsupportedFormat):
        store.open(path.name, "f00d")


def test_other_feature_schema_is_refused(store: BundleStore, path: Path) -> None:
    with pytest.raises(SchemaMismatch, match=r"f00d.*beef"):
        store.open(path.name, "beef")
    assert store.open(path.name, None).version == path.name


def test_file_that_was_never_published_is_refused(store: BundleStore, path: Path) -> None:
    bundle = store.open(path.name, "f00d")
    with pytest.raises(UnknownFile, match=r"'model\.onnx' .* items\.npy, rank/model\.onnx"):
        bundle.file("model.onnx")
    with pytest.raises(UnknownFile):
        bundle.file("../CURRENT")
