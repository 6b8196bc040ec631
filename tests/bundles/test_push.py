"""Pushing: what is sent, what is not sent again, and what a reader finds when a push ends anywhere."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.collect import RemoteShelf, Rules, collect
from bundles.errors import BundleCorrupt, BundleMissing, HoldRefused, RemoteUnreachable
from bundles.patience import Patience
from bundles.push import Pusher
from bundles.remote import RemoteStore
from bundles.store import BundleStore
from tests.bundles.conftest import Publish, publish_into
from tests.bundles.remotes import AT_ONCE, Fuse, Killed, check_remote, fused

FILES = {"rank/model.onnx": b"graph" * 100, "items.npy": b"items" * 50, "empty": b""}
BYTES = sum(map(len, FILES.values()))


def test_a_pushed_version_is_active_and_the_one_before_is_the_previous_one(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    first, second = publish(FILES).version, publish({**FILES, "items.npy": b"other"}).version
    pusher = Pusher(store, remote, AT_ONCE)
    pushed = pusher.push(first)
    assert (pushed.uploaded, pushed.skipped, check_remote(remote)) == (BYTES, 0, [first])
    pusher.push(second)
    assert check_remote(remote) == [second, first]
    pusher.push(first)
    assert check_remote(remote) == [first, second]


def test_what_is_there_is_read_back_and_not_sent_again(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    version = publish(FILES).version
    pusher = Pusher(store, remote, AT_ONCE)
    pusher.push(version)
    again = pusher.push(version)
    assert (again.uploaded, again.skipped) == (0, BYTES)


def test_pushing_again_mends_a_file_of_the_right_size_and_the_wrong_content(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    version = publish(FILES).version
    pusher = Pusher(store, remote, AT_ONCE)
    pusher.push(version)
    remote._fs.pipe_file(remote._path(version, "items.npy"), b"x" * len(FILES["items.npy"]))
    with pytest.raises(AssertionError):
        check_remote(remote)
    assert pusher.push(version).uploaded == len(FILES["items.npy"])
    assert check_remote(remote) == [version]


def test_a_version_that_is_damaged_here_is_not_pushed(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    version = publish(FILES).version
    (store.root / version / "items.npy").chmod(0o644)
    (store.root / version / "items.npy").write_bytes(b"x" * len(FILES["items.npy"]))
    with pytest.raises(BundleCorrupt, match=r"items\.npy"):
        Pusher(store, remote, AT_ONCE).push(version)
    assert remote.versions() == {}
    with pytest.raises(BundleMissing):
        Pusher(store, remote, AT_ONCE).push("20260105T000000.123Z-000000000000")


def test_a_held_version_leaves_the_active_one_alone(store: BundleStore, publish: Publish, remote: RemoteStore) -> None:
    versions = [publish({"a": bytes([number])}).version for number in range(6)]
    pusher = Pusher(store, remote, AT_ONCE)
    pusher.push(versions[0])
    for version in (*versions[1:5], versions[1]):
        pusher.push(version, hold=True)
    assert (check_remote(remote), list(remote.wanted().also)) == ([versions[0]], versions[1:5])
    with pytest.raises(HoldRefused, match=f"release one of: {versions[1]}"):
        pusher.push(versions[5], hold=True)
    remote.release(versions[1])
    assert list(remote.wanted().also) == versions[2:5]
    with pytest.raises(HoldRefused, match="is not held"):
        remote.release(versions[1])


def test_a_broken_pointer_is_named_and_mended_by_pushing(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    version = publish(FILES).version
    pusher = Pusher(store, remote, AT_ONCE)
    pusher.push(version)
    for content in (b"nonsense", b"\xff", version[:-1].encode(), b"../../etc"):
        remote._fs.pipe_file(remote._path("CURRENT"), content)
        with pytest.raises(BundleCorrupt, match="CURRENT"):
            remote.wanted()
    pusher.push(version)
    assert check_remote(remote) == [version]


def test_a_broken_list_of_held_versions_is_named_and_mended_by_holding(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    version = publish(FILES).version
    pusher = Pusher(store, remote, AT_ONCE)
    pusher.push(version)
    remote._fs.pipe_file(remote._path("ALSO"), b"nonsense")
    with pytest.raises(BundleCorrupt, match="ALSO"):
        remote.wanted()
    pusher.push(version, hold=True)
    assert remote.wanted().also == (version,)


def test_a_store_that_does_not_answer_is_asked_again_and_then_named(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    version, waited = publish(FILES).version, list[float]()
    flaky = fused(remote, Fuse(10, lambda: ConnectionError("reset by peer")))
    with pytest.raises(RemoteUnreachable, match=r"://.*ConnectionError: reset by peer"):
        Pusher(store, flaky, Patience(4, 1.0, waited.append)).push(version)
    assert [round(seconds) for seconds in waited] == pytest.approx([1, 2, 4], abs=1)
    assert check_remote(remote) == []


def test_what_a_collector_takes_away_during_a_push_is_sent_again(
    store: BundleStore, publish: Publish, remote: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector has decided before the push began, and strikes when the files have been found to be there."""
    first, second = publish(FILES).version, publish({"a": b"1"}).version
    pusher = Pusher(store, remote, AT_ONCE)
    for version in (first, second):
        pusher.push(version)
    activate = remote.activate

    def struck(version: str) -> None:
        monkeypatch.undo()
        remote.remove(version)
        activate(version)

    monkeypatch.setattr(remote, "activate", struck)
    assert pusher.push(first).uploaded == BYTES
    assert check_remote(remote) == [first, second]


operations = st.integers(0, 25)


@settings(max_examples=30, deadline=None)
@given(deaths=st.lists(st.tuples(st.sampled_from([0, 1]), operations, st.booleans()), max_size=6))
def test_wherever_pushes_die_a_reader_finds_whole_versions_only(deaths: list[tuple[int, int, bool]]) -> None:
    remote = RemoteStore(f"memory://{uuid.uuid4().hex}")
    with TemporaryDirectory() as folder:
        store = BundleStore(Path(folder))
        versions = [publish_into(store, {**FILES, "items.npy": content}).version for content in (b"one", b"two")]
        for which, after, late in deaths:
            before = check_remote(remote)
            with contextlib.suppress(Killed):
                Pusher(store, fused(remote, Fuse(after, late=late)), AT_ONCE).push(versions[which])
            assert check_remote(remote) in (before, [versions[which], *before[:1]], [versions[which], *before[1:]])
        for version in versions:
            Pusher(store, remote, AT_ONCE).push(version)
        assert check_remote(remote) == [versions[1], versions[0]]


def test_half_a_push_is_collected_once_its_grace_is_over(
    store: BundleStore, publish: Publish, remote: RemoteStore
) -> None:
    active, half = publish({"a": b"1"}).version, publish(FILES).version
    Pusher(store, remote, AT_ONCE).push(active)
    with pytest.raises(Killed):
        Pusher(store, fused(remote, Fuse(9)), AT_ONCE).push(half)
    assert remote.versions() == {active: True, half: False}
    kept: Any = collect(RemoteShelf(remote), Rules(0, 60.0), now_ms=0)
    assert (kept.removed, list(kept.waiting)) == ((), [half])
    assert collect(RemoteShelf(remote), Rules(0, 60.0), now_ms=60_000).removed == (half,)
    assert remote.sizes(half) == {}
