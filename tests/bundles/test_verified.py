"""What is believed without being read again, and everything that ends that."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundles import disk
from bundles.bundle import parse_manifest
from bundles.errors import BundleCorrupt, UnverifiedFile
from bundles.store import BundleStore
from bundles.verified import Verified, look
from tests.bundles.conftest import MONDAY_MS, Publish, publish_into

FILES = {"items/a.npy": b"items", "rank/model.onnx": b"graph", "items_other": b"other"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose checksums were computed, by name."""
    names: list[str] = []
    sha256 = disk.sha256

    def noted(path: Path) -> str:
        names.append(path.name)
        return sha256(path)

    monkeypatch.setattr(disk, "sha256", noted)
    return names


@pytest.fixture
def version(store: BundleStore, publish: Publish, read: list[str]) -> str:
    version = publish(FILES).version
    read.clear()
    return version


def write(path: Path, content: bytes) -> None:
    """In place, as far as the inode goes."""
    path.chmod(0o644)
    path.write_bytes(content)


def replace(path: Path, content: bytes) -> None:
    """By another file, which pretends to be as old."""
    before = path.stat()
    path.parent.chmod(0o755)
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.replace(path)


def test_what_was_verified_is_not_read_again(store: BundleStore, version: str, read: list[str]) -> None:
    for _ in range(2):
        store.open(version, "f00d")
    assert read == []
    store.open(version, "f00d", reread=True)
    assert sorted(read) == ["a.npy", "items_other", "model.onnx"]


def test_what_was_published_this_moment_is_believed_too(tmp_path: Path, read: list[str]) -> None:
    store = BundleStore(tmp_path)
    version = publish_into(store, FILES).version
    read.clear()
    store.open(version, "f00d")
    assert read == []
    write(store.root / version / "items/a.npy", b"itemz")
    with pytest.raises(BundleCorrupt, match=r"items/a\.npy"):
        store.open(version, "f00d")


@pytest.mark.parametrize("change", [write, replace])
def test_a_file_that_is_changed_or_replaced_is_read_again(
    store: BundleStore, version: str, read: list[str], change: Callable[[Path, bytes], None]
) -> None:
    change(store.root / version / "items/a.npy", b"itemz")
    for _ in range(2):
        with pytest.raises(BundleCorrupt, match=r"items/a\.npy: has another sha256"):
            store.open(version, "f00d")
    assert read == ["a.npy", "a.npy"]


def test_a_bit_that_flips_unseen_is_found_by_reading_again_and_then_by_everybody(
    store: BundleStore, version: str
) -> None:
    path = store.root / version / "items/a.npy"
    before = path.stat()
    write(path, b"itemz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.open(version, "f00d")
    with pytest.raises(BundleCorrupt, match=r"items/a\.npy"):
        store.open(version, "f00d", reread=True)
    with pytest.raises(BundleCorrupt, match=r"items/a\.npy"):
        store.open(version, "f00d")


def test_a_copy_is_read_once(store: BundleStore, version: str, read: list[str], tmp_path: Path) -> None:
    copied = BundleStore(tmp_path / "copied")
    shutil.copytree(store.root, copied.root)
    for _ in range(3):
        copied.open(version, "f00d")
    assert sorted(read) == ["a.npy", "items_other", "model.onnx"]


def test_a_process_reads_its_parts_alone_and_gets_no_others(store: BundleStore, version: str, read: list[str]) -> None:
    (store.root / ".verified" / f"{version}.json").unlink()
    bundle = store.open(version, "f00d", ("items",))
    assert read == ["a.npy"]
    assert bundle.file("items/a.npy").read_bytes() == b"items"
    for other in ("rank/model.onnx", "items_other"):
        with pytest.raises(UnverifiedFile, match=rf"'{other}' was not verified, only items;"):
            bundle.file(other)
    with pytest.raises(UnverifiedFile):
        bundle.folder("rank")
    store.open(version, "f00d")
    assert sorted(read) == ["a.npy", "items_other", "model.onnx"]


def test_the_parts_of_others_must_be_there_in_their_sizes(store: BundleStore, version: str) -> None:
    for content, problem in ((b"graphs", "has 6 bytes, expected 5"), (None, "is missing")):
        path = store.root / version / "rank/model.onnx"
        path.parent.chmod(0o755)
        path.unlink() if content is None else write(path, content)
        with pytest.raises(BundleCorrupt, match=rf"rank/model\.onnx: {problem}"):
            store.open(version, "f00d", ("items",))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"content_hash": 1, "files": 3}', "null"])
def test_a_broken_record_means_that_everything_is_read(
    store: BundleStore, version: str, read: list[str], content: str
) -> None:
    record = store.root / ".verified" / f"{version}.json"
    record.write_text(content)
    store.open(version, "f00d")
    assert len(read) == len(FILES)
    assert json.loads(record.read_text())["files"].keys() == FILES.keys()


def test_a_record_of_another_manifest_is_not_believed(store: BundleStore, version: str, read: list[str]) -> None:
    record = store.root / ".verified" / f"{version}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "content_hash": "0" * 64}))
    store.open(version, "f00d")
    assert len(read) == len(FILES)


def test_a_record_that_cannot_be_written_keeps_nobody_from_opening(
    store: BundleStore, version: str, read: list[str]
) -> None:
    shutil.rmtree(store.root / ".verified")
    (store.root / ".verified").write_text("in the way")
    for _ in range(2):
        assert store.open(version, "f00d").version == version
    assert len(read) == 2 * len(FILES)


def test_a_file_that_was_written_just_now_is_not_remembered(store: BundleStore, version: str, read: list[str]) -> None:
    """Its next write may fall into the same tick of the file system's clock."""
    path = store.root / version / "items/a.npy"
    write(path, b"items")
    for _ in range(2):
        store.open(version, "f00d")
    assert read == ["a.npy", "a.npy"]
    os.utime(path, (MONDAY_MS // 1000, MONDAY_MS // 1000))
    for _ in range(2):
        store.open(version, "f00d")
    assert read == ["a.npy", "a.npy", "a.npy"]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    store: BundleStore, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.root / version / "items/a.npy"
    (store.root / ".verified" / f"{version}.json").unlink()
    manifest = parse_manifest(version, (store.root / version / "manifest.json").read_bytes())
    sha256 = disk.sha256

    def changed_after(read: Path) -> str:
        found = sha256(read)
        if read == path:
            write(path, b"itemz")
            os.utime(path, (MONDAY_MS // 1000 - 3600, MONDAY_MS // 1000 - 3600))
        return found

    monkeypatch.setattr(disk, "sha256", changed_after)
    store.open(version, "f00d")
    assert not Verified(store.root, manifest).holds("items/a.npy", look(path))
    monkeypatch.undo()
    with pytest.raises(BundleCorrupt, match=r"items/a\.npy"):
        store.open(version, "f00d")
