"""Fetching: what is downloaded, linked and kept, what is refused, and what is here when a fetch ends anywhere."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.errors import BundleError, BundleMissing, DiskFull, DownloadCorrupt, RemoteUnreachable, StageRefused
from bundles.fetch import Bytes, Fetcher
from bundles.push import Pusher
from bundles.remote import RemoteStore
from bundles.store import BundleStore
from tests.bundles.conftest import publish_into
from tests.bundles.remotes import AT_ONCE, Fuse, Killed, check_local, disk_through, fused

FILES = {"rank/model.onnx": b"graph" * 100, "items.npy": b"items" * 50, "empty": b""}
OTHER = {**FILES, "rank/model.onnx": b"GRAPH" * 100}
BYTES = sum(map(len, FILES.values()))
Pushed = Callable[..., str]


def fetcher(remote: RemoteStore, node: BundleStore) -> Fetcher:
    return Fetcher(remote, node, AT_ONCE)


def damage(remote: RemoteStore, version: str, file: str, content: bytes) -> None:
    remote._fs.pipe_file(remote._path(version, file), content)


def test_what_services_should_hold_is_here_and_sealed(remote: RemoteStore, node: BundleStore, pushed: Pushed) -> None:
    first, second, held = pushed(FILES), pushed(OTHER), pushed({"a": b"1"}, hold=True)
    fetched = fetcher(remote, node).step()
    assert (fetched.moved, fetched.missing, set(fetched.versions)) == (True, {}, {first, second, held})
    assert (check_local(node), node.also()) == ([second, first], [held])
    assert oct((node.root / first / "items.npy").stat().st_mode & 0o777) == "0o444"
    again = fetcher(remote, node).step()
    assert (again.moved, again.versions) == (False, {})


def test_files_that_another_version_has_are_linked_and_not_downloaded(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    first = pushed(FILES)
    assert fetcher(remote, node).step().versions[first] == Bytes(downloaded=BYTES)
    second = pushed({**OTHER, "items_again.npy": FILES["items.npy"]})
    changed = len(OTHER["rank/model.onnx"])
    counts = fetcher(remote, node).step().versions[second]
    assert counts == Bytes(downloaded=changed, linked=2 * len(FILES["items.npy"]))
    assert (node.root / second / "items.npy").samefile(node.root / first / "items.npy")
    assert check_local(node) == [second, first]


def test_a_file_that_is_damaged_here_is_not_linked(remote: RemoteStore, node: BundleStore, pushed: Pushed) -> None:
    first = pushed(FILES)
    fetcher(remote, node).step()
    (node.root / first / "items.npy").chmod(0o644)
    (node.root / first / "items.npy").write_bytes(b"x" * len(FILES["items.npy"]))
    second = pushed(OTHER)
    steps = fetcher(remote, node).step()
    assert steps.versions[second] == Bytes(downloaded=BYTES)
    assert steps.versions[first].downloaded + steps.versions[first].linked == BYTES
    assert check_local(node) == [second, first]


@pytest.mark.parametrize("file", ["items.npy", "rank/model.onnx"])
def test_a_corrupt_download_is_named_with_both_hashes_and_never_published(
    remote: RemoteStore, node: BundleStore, pushed: Pushed, file: str
) -> None:
    first = pushed(FILES)
    fetcher(remote, node).step()
    second = pushed({name: content + b"2" for name, content in FILES.items()})
    right = FILES[file] + b"2"
    for wrong in (b"x" * len(right), right[:-1], right + b"3", b""):
        damage(remote, second, file, wrong)
        with pytest.raises(
            DownloadCorrupt, match=rf"{second}: {file}: .*sha256 [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"
        ):
            fetcher(remote, node).step()
        assert (check_local(node), node.versions()) == ([first], [first])
    damage(remote, second, file, right)
    counts = fetcher(remote, node).step().versions[second]
    assert counts.resumed + counts.downloaded == BYTES + 3
    assert check_local(node) == [second, first]


def test_a_download_that_was_corrupt_once_is_tried_again(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    version, read = pushed(FILES), remote.read
    asked: list[str] = []

    def flipping(version: str, file: str, offset: int = 0) -> Iterator[bytes]:
        asked.append(file)
        first = asked.count(file) == 1
        return (piece[::-1] if first and file == "rank/model.onnx" else piece for piece in read(version, file, offset))

    remote.read = flipping  # type: ignore[method-assign]
    assert fetcher(remote, node).step().versions[version].downloaded == BYTES
    assert (asked.count("rank/model.onnx"), check_local(node)) == (2, [version])


def test_a_connection_that_breaks_goes_on_where_it_ended(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    version, read = pushed(FILES), remote.read
    offsets: list[int] = []

    def breaking(version: str, file: str, offset: int = 0) -> Iterator[bytes]:
        whole = b"".join(read(version, file, offset))
        if file == "rank/model.onnx":
            offsets.append(offset)
            if len(offsets) < 3:
                yield whole[:100]
                raise RemoteUnreachable(remote.url, "reset by peer")
        yield whole

    remote.read = breaking  # type: ignore[method-assign]
    fetcher(remote, node).step()
    assert (offsets, check_local(node)) == ([0, 100, 200], [version])


def test_a_version_besides_the_active_one_that_cannot_be_had_keeps_nobody(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    first, held, second = pushed(FILES), pushed({"a": b"1"}, hold=True), pushed(OTHER)
    damage(remote, first, "rank/model.onnx", b"")
    remote.remove(held)
    fetched = fetcher(remote, node).step()
    assert fetched.missing.keys() == {first, held}
    assert ("rank/model.onnx" in fetched.missing[first], "push it again" in fetched.missing[held]) == (True, True)
    assert (check_local(node), node.also()) == ([second], [])
    damage(remote, first, "rank/model.onnx", FILES["rank/model.onnx"])
    assert fetcher(remote, node).step().missing.keys() == {held}
    assert check_local(node) == [second, first]


def test_a_version_that_cannot_be_had_is_not_asked_for_at_every_look(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    first, second = pushed(FILES), pushed(OTHER)
    damage(remote, first, "rank/model.onnx", b"")
    now_s, asked, read = [0.0], list[str](), remote.read
    remote.read = lambda version, file, offset=0: asked.append(version) or read(version, file, offset)  # type: ignore[method-assign, func-returns-value]
    patient = Fetcher(remote, node, AT_ONCE, lambda: now_s[0])
    tries = []
    for second_s in range(0, 100, 5):
        now_s[0] = float(second_s)
        asked.clear()
        assert first in patient.step().missing
        tries.append(first in asked)
    assert (tries[0], tries[1], sum(tries)) == (True, False, 4)
    damage(remote, first, "rank/model.onnx", FILES["rank/model.onnx"])
    now_s[0] = 1000.0
    assert patient.step().missing == {}
    assert check_local(node) == [second, first]


def test_a_store_without_a_bundle_changes_nothing_here(remote: RemoteStore, node: BundleStore, pushed: Pushed) -> None:
    with pytest.raises(BundleMissing, match="push one"):
        fetcher(remote, node).step()
    version = pushed(FILES)
    fetcher(remote, node).step()
    for lost in (version, "CURRENT"):
        remote._fs.rm(remote._path(lost), recursive=True)
        if lost == "CURRENT":
            with pytest.raises(BundleMissing):
                fetcher(remote, node).step()
        assert check_local(node) == [version]


def test_going_back_is_followed_without_a_download(remote: RemoteStore, node: BundleStore, pushed: Pushed) -> None:
    first, second = pushed(FILES), pushed(OTHER)
    fetcher(remote, node).step()
    remote.activate(first)
    back = fetcher(remote, node).step()
    assert (back.moved, back.versions, check_local(node)) == (True, {}, [first, second])


def test_without_a_version_before_the_way_back_is_what_was_active_here(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    here = publish_into(node, {"a": b"1"}).version
    node.activate(here)
    version = pushed(FILES)
    for _ in range(2):
        fetcher(remote, node).step()
        assert check_local(node) == [version, here]


def test_a_pointer_here_to_what_is_gone_or_broken_keeps_nobody(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    here = publish_into(node, {"a": b"1"}).version
    node.activate(here)
    version = pushed(FILES)
    node.root.joinpath(here).rename(node.root / "lost")
    fetcher(remote, node).step()
    assert check_local(node) == [version]
    (node.root / "CURRENT").write_text("nonsense")
    fetcher(remote, node).step()
    assert check_local(node) == [version]


def test_a_version_that_is_damaged_here_is_fetched_again(
    remote: RemoteStore, node: BundleStore, pushed: Pushed
) -> None:
    version = pushed(FILES)
    follower = fetcher(remote, node)
    follower.step()
    (node.root / version).chmod(0o755)
    (node.root / version / "items.npy").unlink()
    assert follower.step().versions[version] == Bytes(len(FILES["items.npy"]), linked=len(FILES["rank/model.onnx"]))
    assert check_local(node) == [version]
    assert follower.step().versions == {}


def test_a_full_disk_is_named_before_and_during_a_download(
    remote: RemoteStore, node: BundleStore, pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = pushed(FILES)
    usage = namedtuple("usage", "free")
    with monkeypatch.context() as scarce:
        scarce.setattr(shutil, "disk_usage", lambda path: usage(BYTES - 1))
        with pytest.raises(DiskFull, match=rf"{version} needs {BYTES} bytes more, {BYTES - 1} are free"):
            fetcher(remote, node).step()
    full = Fuse(3, lambda: OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(DiskFull, match="no room for bundle"), disk_through(full):
        fetcher(remote, node).step()
    assert node.versions() == []
    fetcher(remote, node).step()
    assert check_local(node) == [version]


def test_a_root_that_cannot_be_written_is_named(remote: RemoteStore, tmp_path: Path, pushed: Pushed) -> None:
    pushed(FILES)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot be written"):
        fetcher(remote, BundleStore(tmp_path / "file" / "root")).step()


def test_one_process_fetches_a_version_at_a_time(remote: RemoteStore, node: BundleStore, pushed: Pushed) -> None:
    version = pushed(FILES)
    with node.resume(version), pytest.raises(StageRefused, match="another process is fetching"):
        fetcher(remote, node).step()
    fetcher(remote, node).step()
    assert check_local(node) == [version]


death = st.tuples(st.sampled_from(["remote", "disk"]), st.integers(0, 45), st.booleans())


@settings(max_examples=20, deadline=None)
@given(deaths=st.lists(death, max_size=5), pushes=st.lists(st.booleans(), max_size=5))
def test_wherever_fetches_die_whole_versions_are_here_and_nothing_else(
    deaths: list[tuple[str, int, bool]], pushes: list[bool]
) -> None:
    """Between two deaths another version may become the active one."""
    remote = RemoteStore(f"memory://{uuid.uuid4().hex}")
    with TemporaryDirectory() as folder:
        store, node = BundleStore(Path(folder, "store")), BundleStore(Path(folder, "node"))
        versions = [publish_into(store, files).version for files in (FILES, OTHER)]
        for version in versions:
            Pusher(store, remote, AT_ONCE).push(version)
        for number, (place, after, late) in enumerate(deaths):
            fuse = Fuse(after, late=late)
            try:
                if place == "remote":
                    fetcher(fused(remote, fuse), node).step()
                else:
                    with disk_through(fuse):
                        fetcher(remote, node).step()
            except Killed:
                pass
            assert set(check_local(node)) <= set(versions)
            if pushes[number : number + 1] == [True]:
                remote.activate(versions[number % 2])
        wanted = fetcher(remote, node).step().wanted
        assert check_local(node) == list(wanted.pointer)
        assert list(node.root.glob(".fetch-*")) == list(node.root.glob(".gone-*")) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from bundles.fetch import Fetcher
from bundles.remote import RemoteStore
from bundles.store import BundleStore
read = RemoteStore.read
def dying(self, version, file, offset=0):
    for piece in read(self, version, file, offset):
        if file == "z.npy":
            yield piece[: len(piece) // 2]
            os.kill(os.getpid(), signal.SIGKILL)
        yield piece
RemoteStore.read = dying
Fetcher(RemoteStore(sys.argv[1]), BundleStore(Path(sys.argv[2]))).step()
"""


def test_a_fetch_that_was_killed_goes_on_with_what_it_had(
    store: BundleStore, node: BundleStore, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/remote"
    before = publish_into(store, {"a": b"1"}).version
    version = publish_into(store, {"a.npy": b"a" * 5000, "z.npy": os.urandom(300_000)}).version
    Pusher(store, RemoteStore(url)).push(before)
    fetcher(RemoteStore(url), node).step()
    Pusher(store, RemoteStore(url)).push(version)
    killed = subprocess.run([sys.executable, "-c", KILLED, url, str(node.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (check_local(node), node.versions()) == ([before], [before])
    rerun = subprocess.run(
        [sys.executable, "-m", "bundles", "fetch", url, "--root", str(node.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert rerun.stdout.strip() == version
    assert f'"version": "{version}", "downloaded": 300000, "linked": 0, "resumed": 5000' in rerun.stderr
    assert check_local(node) == [version, before]
