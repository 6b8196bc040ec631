"""Publishing, the pointer, and crashes in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundles.errors import BundleCorrupt, BundleMissing, HoldRefused, StageRefused
from bundles.store import MAX_ALSO, BundleStore
from tests.bundles.conftest import Publish, fields


def test_version_is_the_time_and_the_beginning_of_the_content_hash(publish: Publish) -> None:
    manifest = publish({"model.onnx": b"graph"})
    assert manifest.version == f"20260105T000000.123Z-{manifest.content_hash()[:12]}"


def test_published_files_can_be_opened(store: BundleStore, publish: Publish) -> None:
    version = publish({"rank/model.onnx": b"graph", "items.npy": b""}).version
    bundle = store.open(version, "f00d")
    assert bundle.file("rank/model.onnx").read_bytes() == b"graph"
    assert bundle.manifest.files["items.npy"].size == 0


def test_published_tree_is_read_only(store: BundleStore, publish: Publish) -> None:
    path = store.root / publish({"rank/model.onnx": b"graph"}).version
    modes = {entry.relative_to(path).as_posix(): oct(entry.stat().st_mode & 0o777) for entry in path.rglob("*")}
    assert modes == {"rank": "0o555", "rank/model.onnx": "0o444", "manifest.json": "0o444"}


def test_publishing_does_not_activate(store: BundleStore, publish: Publish) -> None:
    version = publish({"a": b"1"}).version
    assert store.current_version() is None
    assert store.versions() == [version]


def test_activation_remembers_the_version_before(store: BundleStore, publish: Publish) -> None:
    first, second = publish({"a": b"1"}).version, publish({"a": b"2"}).version
    store.activate(first)
    assert (store.current_version(), store.previous_version()) == (first, None)
    store.activate(second)
    assert (store.current_version(), store.previous_version()) == (second, first)


def test_activating_the_current_version_again_keeps_the_previous_one(store: BundleStore, publish: Publish) -> None:
    first, second = publish({"a": b"1"}).version, publish({"a": b"2"}).version
    for version in (first, second, second):
        store.activate(version)
    assert store.previous_version() == first


def test_versions_come_oldest_first(store: BundleStore, publish: Publish) -> None:
    published = [publish({"a": bytes([i])}).version for i in range(5)]
    assert store.versions() == published


@pytest.mark.parametrize("version", ["", "..", "../bundles", "20260105T000000.123Z-000000000000", "/"])
def test_unknown_versions_are_missing(store: BundleStore, publish: Publish, version: str) -> None:
    known = publish({"a": b"1"}).version
    with pytest.raises(BundleMissing, match=known):
        store.activate(version)


def test_opening_without_an_active_version_says_so(store: BundleStore) -> None:
    with pytest.raises(BundleMissing, match="no bundle is active"):
        store.active_version()


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"../../etc\n", b"\xff\xfe"])
def test_broken_pointer_is_reported_and_repaired_by_activating(
    store: BundleStore, publish: Publish, content: bytes
) -> None:
    version = publish({"a": b"1"}).version
    (store.root / "CURRENT").write_bytes(content)
    with pytest.raises(BundleCorrupt, match="CURRENT"):
        store.current_version()
    store.activate(version)
    assert store.open(store.active_version(), "f00d").version == version


def test_unpublished_stage_leaves_nothing(store: BundleStore) -> None:
    with store.stage() as staged:
        (staged / "half").write_bytes(b"x")
    assert not staged.exists()
    assert store.versions() == []


def test_stage_of_a_killed_process_is_ignored_and_then_removed(store: BundleStore, publish: Publish) -> None:
    script = (
        "import os, sys; from pathlib import Path; from bundles.store import BundleStore\n"
        "with BundleStore(Path(sys.argv[1])).stage() as staged:\n"
        "    (staged / 'half').write_bytes(b'x'); print(staged, flush=True); os._exit(9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(store.root)], capture_output=True, text=True, check=False
    )
    leftover = Path(killed.stdout.strip())
    assert (leftover / "half").exists()
    assert store.versions() == []
    publish({"a": b"1"})
    assert not leftover.exists()


def test_stage_of_a_living_publisher_is_left_alone(store: BundleStore, publish: Publish) -> None:
    with store.stage() as staged:
        publish({"a": b"1"})
        assert staged.exists()


def test_empty_stage_is_refused(store: BundleStore) -> None:
    with store.stage() as staged, pytest.raises(StageRefused, match="nothing was staged"):
        store.publish(staged, **fields())


def test_staged_manifest_is_refused(store: BundleStore) -> None:
    with store.stage() as staged:
        (staged / "manifest.json").write_bytes(b"{}")
        with pytest.raises(StageRefused, match=r"manifest\.json"):
            store.publish(staged, **fields())


def test_staged_link_is_refused(store: BundleStore) -> None:
    with store.stage() as staged:
        os.symlink("/etc/hostname", staged / "items.npy")
        with pytest.raises(StageRefused, match=r"items\.npy"):
            store.publish(staged, **fields())


def test_directory_that_is_no_stage_is_refused(store: BundleStore, tmp_path: Path) -> None:
    with pytest.raises(StageRefused, match="no stage"):
        store.publish(tmp_path, **fields())


def test_metrics_that_are_not_json_are_refused(store: BundleStore) -> None:
    stated = fields()
    stated["metrics"] = {"auc": float("nan")}
    with store.stage() as staged:
        (staged / "a").write_bytes(b"1")
        with pytest.raises(StageRefused, match="metrics"):
            store.publish(staged, **stated)


def test_progress_names_every_file(store: BundleStore) -> None:
    seen: list[tuple[str, int]] = []
    with store.stage() as staged:
        (staged / "b").write_bytes(b"22")
        (staged / "a").write_bytes(b"1")
        store.publish(staged, progress=lambda name, size: seen.append((name, size)), **fields())
    assert seen == [("a", 1), ("b", 2)]


def test_people_name_a_version_by_its_role_its_beginning_or_the_beginning_of_its_hash(
    store: BundleStore, publish: Publish
) -> None:
    first, second = publish({"a": b"1"}).version, publish({"a": b"2"}).version
    store.activate(first)
    store.activate(second)
    named = {"current": second, "active": second, "previous": first, first: first, second[-12:-6]: second}
    assert {name: store.find(name) for name in named} == named


def test_a_name_that_means_several_bundles_or_none_is_answered_with_those_there_are(
    store: BundleStore, publish: Publish
) -> None:
    first, second = publish({"a": b"1"}).version, publish({"a": b"2"}).version
    with pytest.raises(BundleMissing, match=f"'2026' means several bundles in .*: {first}, {second}"):
        store.find("2026")
    for name in ("2031", ""):
        with pytest.raises(BundleMissing, match=f"{name!r} means no bundle in .*: {first}, {second}"):
            store.find(name)
    with pytest.raises(BundleMissing, match="there is no active bundle"):
        store.find("active")


def test_versions_held_besides_are_kept_in_order_until_they_are_released(store: BundleStore, publish: Publish) -> None:
    first, second = publish({"a": b"1"}).version, publish({"a": b"2"}).version
    assert store.also() == []
    for version in (second, first, second):
        store.hold(version)
    assert store.also() == [second, first]
    assert (store.root / "ALSO").read_text() == f"{second}\n{first}\n"
    store.release(second)
    store.release(first)
    assert store.also() == []


def test_only_versions_that_are_there_can_be_held_and_only_a_few(store: BundleStore, publish: Publish) -> None:
    versions = [publish({"a": bytes([i])}).version for i in range(MAX_ALSO + 1)]
    with pytest.raises(BundleMissing, match=versions[0]):
        store.hold("20260105T000000.123Z-000000000000")
    with pytest.raises(HoldRefused, match="is not held; held: none"):
        store.release(versions[0])
    for version in versions[:-1]:
        store.hold(version)
    with pytest.raises(HoldRefused, match=f"release one of: {', '.join(versions[:-1])}"):
        store.hold(versions[-1])
    assert store.also() == versions[:-1]


def test_a_version_that_is_gone_can_be_released(store: BundleStore, publish: Publish) -> None:
    version = publish({"a": b"1"}).version
    store.hold(version)
    (store.root / version).rename(store.root / ".gone")
    store.release(version)
    assert store.also() == []


@pytest.mark.parametrize("content", [b"nonsense\n", b"../../etc\n", b"\xff\xfe"])
def test_a_broken_list_of_held_versions_is_reported(store: BundleStore, publish: Publish, content: bytes) -> None:
    publish({"a": b"1"})
    (store.root / "ALSO").write_bytes(content)
    with pytest.raises(BundleCorrupt, match="ALSO"):
        store.also()


def test_the_stamp_changes_with_what_services_should_hold_and_with_nothing_else(
    store: BundleStore, publish: Publish
) -> None:
    version = publish({"a": b"1"}).version
    stamps = [store.stamp()]
    for change in (store.activate, store.hold, store.release):
        change(version)
        stamps.append(store.stamp())
    publish({"a": b"2"})
    store.activate(version)
    assert len(set(stamps)) == len(stamps)
    assert store.stamp() == stamps[-1]


def test_the_stamp_of_a_version_changes_with_its_files(store: BundleStore, publish: Publish) -> None:
    version = publish({"deep/a": b"1", "b": b"2"}).version
    file = store.root / version / "deep" / "a"
    before = store.files_stamp(version)
    file.chmod(0o644)
    file.write_bytes(b"1")
    written = store.files_stamp(version)
    file.parent.chmod(0o755)
    file.unlink()
    assert len({before, written, store.files_stamp(version)}) == 3
    assert store.files_stamp("../elsewhere") == store.files_stamp("20260105T000000.123Z-000000000000") == ()


def test_pointing_writes_both_lists_and_only_what_differs(store: BundleStore, publish: Publish) -> None:
    first, second, third = (publish({"a": bytes([number])}).version for number in range(3))
    store.point([second, first], [third])
    assert (store.pointer(), store.also()) == ([second, first], [third])
    stamp = store.stamp()
    store.point([second, first], [third])
    assert store.stamp() == stamp
    store.point([third], [])
    assert (store.pointer(), store.also()) == ([third], [])


def test_pointing_to_what_is_not_there_changes_nothing(store: BundleStore, publish: Publish) -> None:
    versions = [publish({"a": bytes([number])}).version for number in range(MAX_ALSO + 1)]
    store.activate(versions[0])
    unknown = "20260105T000000.123Z-000000000000"
    for pointer, also in (([unknown], []), ([versions[1], unknown], []), ([versions[1]], [unknown])):
        with pytest.raises(BundleMissing, match=unknown):
            store.point(pointer, also)
    with pytest.raises(HoldRefused, match=f"at most {MAX_ALSO}"):
        store.point(versions[:1], versions)
    assert (store.pointer(), store.also()) == ([versions[0]], [])


def test_only_what_services_need_not_hold_is_removed(store: BundleStore, publish: Publish) -> None:
    first, second, third, fourth = (publish({"a": bytes([number])}).version for number in range(4))
    store.point([second, first], [third])
    for needed in (first, second, third):
        with pytest.raises(HoldRefused, match=f"{needed} is active, previous or held"):
            store.remove(needed)
    store.remove(fourth)
    for gone in (fourth, "../elsewhere", "CURRENT"):
        with pytest.raises(BundleMissing):
            store.remove(gone)
    assert store.versions() == [first, second, third]
    assert list(store.root.glob(".gone-*")) == []


def test_what_comes_from_elsewhere_is_adopted_as_it_was_published(
    store: BundleStore, publish: Publish, tmp_path: Path
) -> None:
    manifest = publish({"deep/a": b"1"})
    content = (store.root / manifest.version / "manifest.json").read_bytes()
    other = BundleStore(tmp_path / "other")
    with other.resume(manifest.version) as partial:
        (partial / "deep").mkdir()
        with pytest.raises(StageRefused, match="deep/a"):
            other.adopt(partial, manifest, content)
        (partial / "deep" / "a").write_bytes(b"1")
    assert other.versions() == []
    with other.resume(manifest.version) as partial:
        with pytest.raises(StageRefused, match="is not what resume"):
            other.adopt(tmp_path, manifest, content)
        other.adopt(partial, manifest, content)
    assert other.open(manifest.version, "f00d", reread=True).file("deep/a").read_bytes() == b"1"
    assert list(other.root.glob(".fetch-*")) == []


def test_what_a_crash_left_of_a_removal_goes_with_the_next_stage(store: BundleStore, publish: Publish) -> None:
    version = publish({"a": b"1"}).version
    os.rename(store.root / version, store.root / f".gone-{version}")
    publish({"a": b"2"})
    assert list(store.root.glob(".gone-*")) == []
