"""Collecting: who stays, who goes, and not before its grace is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.bundle import Bundle
from bundles.collect import LocalShelf, RemoteShelf, Rules, Shelf, collect
from bundles.errors import BundleCorrupt, BundleMissing
from bundles.remote import RemoteStore
from bundles.store import BundleStore
from tests.bundles.conftest import Publish
from tests.bundles.remotes import check_local, check_remote

GRACE_MS = 60_000
HOUR = Rules(keep=0, grace_s=60)
Pushed = Callable[..., str]


class Memory:
    """A shelf that notes what is done to it."""

    def __init__(self, versions: int, needed: set[str]) -> None:
        self.stock = {f"v{number:02}": True for number in range(versions)}
        self.marks: dict[str, int] = {}
        self.wanted = needed

    def versions(self) -> dict[str, bool]:
        return dict(self.stock)

    def needed(self) -> set[str]:
        return self.wanted

    def unused_since_ms(self, version: str) -> int | None:
        return self.marks.get(version)

    def mark_unused(self, version: str, now_ms: int) -> None:
        self.marks[version] = now_ms

    def unmark(self, version: str) -> None:
        self.marks.pop(version, None)

    def remove(self, version: str) -> None:
        del self.stock[version], self.marks[version]


@given(
    needs=st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=12),
    keep=st.integers(0, 12),
    step_ms=st.integers(1, GRACE_MS * 2),
)
def test_nothing_goes_that_was_needed_within_the_grace(needs: list[set[int]], keep: int, step_ms: int) -> None:
    shelf, last_needed_ms = Memory(10, set()), dict.fromkeys((f"v{each:02}" for each in range(10)), 0)
    for number, need in enumerate(needs):
        now_ms = number * step_ms
        shelf.wanted = {f"v{each:02}" for each in need} & shelf.stock.keys() or {max(shelf.stock)}
        last_needed_ms.update(dict.fromkeys(shelf.wanted, now_ms))
        newest = sorted(shelf.stock)[-keep:] if keep else []
        told = collect(shelf, Rules(keep, GRACE_MS / 1000), dry_run=True, now_ms=now_ms)
        collected = collect(shelf, Rules(keep, GRACE_MS / 1000), now_ms=now_ms)
        assert told == collected
        for version in collected.removed:
            assert version not in shelf.wanted
            assert version not in newest
            assert now_ms - last_needed_ms[version] >= GRACE_MS
        assert set(newest) | shelf.wanted <= shelf.stock.keys()


def test_a_dry_run_changes_nothing() -> None:
    shelf = Memory(3, {"v02"})
    assert list(collect(shelf, HOUR, dry_run=True, now_ms=0).waiting) == ["v00", "v01"]
    assert (shelf.marks, len(shelf.stock)) == ({}, 3)
    assert collect(shelf, Rules(0, 0), dry_run=True, now_ms=0).removed == ("v00", "v01")
    assert len(shelf.stock) == 3


def test_what_is_needed_again_begins_its_grace_anew() -> None:
    shelf = Memory(2, {"v01"})
    collect(shelf, HOUR, now_ms=0)
    shelf.wanted = {"v00"}
    collect(shelf, HOUR, now_ms=GRACE_MS)
    shelf.wanted = {"v01"}
    assert collect(shelf, HOUR, now_ms=GRACE_MS + 1).waiting == {"v00": 60.0}


def test_what_is_activated_at_the_last_moment_stays() -> None:
    class Late(Memory):
        asked = 0

        def needed(self) -> set[str]:
            self.asked += 1
            return {"v01"} if self.asked == 1 else {"v00", "v01"}

    shelf = Late(2, set())
    assert (collect(shelf, Rules(0, 0), now_ms=0).removed, len(shelf.stock)) == ((), 2)


@pytest.fixture(params=["local", "remote"])
def shelf(request: pytest.FixtureRequest, store: BundleStore, remote: RemoteStore, pushed: Pushed) -> Shelf:
    """Five versions: the last is active, the fourth was before it, and the first is held."""
    versions = [pushed({"a": bytes([number])}, hold=number == 0) for number in range(5)]
    store.point(versions[:2:-1], versions[:1])
    return LocalShelf(store) if request.param == "local" else RemoteShelf(remote)


def test_active_previous_held_and_the_newest_stay(shelf: Shelf, store: BundleStore, remote: RemoteStore) -> None:
    versions = list(shelf.versions())
    assert collect(shelf, Rules(3, 60), now_ms=0).waiting == {versions[1]: 60.0}
    collected = collect(shelf, Rules(3, 60), now_ms=GRACE_MS)
    assert (collected.removed, collected.kept) == ((versions[1],), (versions[0], *versions[2:]))
    assert collect(shelf, Rules(0, 0), now_ms=0).removed == (versions[2],)
    assert collect(shelf, Rules(0, 0), now_ms=0).removed == ()
    assert list(shelf.versions()) == [versions[0], *versions[3:]]
    assert check_local(store) == check_remote(remote) == versions[:2:-1]


def test_without_a_pointer_that_can_be_read_nothing_goes(
    store: BundleStore, publish: Publish, remote: RemoteStore, pushed: Pushed
) -> None:
    version = publish({"a": b"1"}).version
    with pytest.raises(BundleMissing):
        collect(LocalShelf(store), Rules(0, 0))
    with pytest.raises(BundleMissing):
        collect(RemoteShelf(remote), Rules(0, 0))
    pushed({"a": b"2"})
    (store.root / "CURRENT").write_text("nonsense")
    remote._fs.pipe_file(remote._path("CURRENT"), b"nonsense")
    with pytest.raises(BundleCorrupt):
        collect(LocalShelf(store), Rules(0, 0))
    with pytest.raises(BundleCorrupt):
        collect(RemoteShelf(remote), Rules(0, 0))
    assert store.open(version, None).version == version
    assert len(remote.versions()) == 1


def test_a_fetch_that_was_given_up_goes_and_one_that_runs_stays(store: BundleStore, publish: Publish) -> None:
    active = publish({"a": b"1"}).version
    store.activate(active)
    given_up, running = "20260105T000000.123Z-000000000000", "20260105T000000.124Z-000000000000"
    with store.resume(given_up) as partial:
        (partial / "half").write_bytes(b"x")
    with store.resume(running) as partial:
        assert collect(LocalShelf(store), Rules(0, 0)).removed == (given_up,)
        assert partial.exists()
    assert not (store.root / f".fetch-{given_up}").exists()


def test_what_a_process_holds_of_a_removed_version_stays_readable(store: BundleStore, publish: Publish) -> None:
    old, new = publish({"a": b"1"}).version, publish({"a": b"2"}).version
    for version in (old, new, new):
        store.activate(version)
    store.point([new], [])
    bundle: Bundle = store.open(old, None)
    with bundle.file("a").open("rb") as held:
        assert collect(LocalShelf(store), Rules(0, 0)).removed == (old,)
        assert held.read() == b"1"
    assert not (store.root / ".verified" / f"{old}.json").exists()
