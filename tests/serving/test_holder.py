"""Which bundle versions can be answered from."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles.bundle import Bundle
from bundles.errors import BundleMissing, SchemaMismatch
from bundles.store import BundleStore
from serving.errors import BundleNotHeld, NotReady
from serving.holder import Held, Holder, load_current
from tests.bundles.conftest import fields


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    store = BundleStore(tmp_path)
    with store.stage() as staged:
        (staged / "table").write_text("seven")
        store.activate(store.publish(staged, **fields()).version)
    return store


def read(bundle: Bundle) -> str:
    return bundle.file("table").read_text()


def test_nothing_is_held_at_first() -> None:
    with pytest.raises(NotReady):
        Holder[str]().held()


def test_current_version_is_the_default_and_the_previous_one_can_be_pinned() -> None:
    holder = Holder[str]()
    for version in ("v1", "v2", "v3"):
        holder.put(version, version.upper())
    assert holder.held() == Held("v3", "V3")
    assert holder.held("v2").value == "V2"
    with pytest.raises(BundleNotHeld, match="'v1' is not held; held: v3, v2"):
        holder.held("v1")


def test_putting_a_version_again_replaces_its_value() -> None:
    holder = Holder[str]()
    for version, value in (("v1", "a"), ("v2", "b"), ("v2", "c"), ("v1", "d")):
        holder.put(version, value)
    assert (holder.versions(), holder.held().value, holder.held("v2").value) == (["v1", "v2"], "d", "c")


async def test_active_bundle_is_loaded(store: BundleStore) -> None:
    holder = Holder[str]()
    await load_current(store, "f00d", read, holder)
    assert holder.held() == Held(str(store.current_version()), "seven")


async def test_bundle_that_cannot_be_used_leaves_the_holder_as_it_is(store: BundleStore, tmp_path: Path) -> None:
    holder = Holder[str]()
    holder.put("v1", "before")
    with pytest.raises(SchemaMismatch):
        await load_current(store, "beef", read, holder)
    with pytest.raises(BundleMissing):
        await load_current(BundleStore(tmp_path / "none"), "f00d", read, holder)
    assert holder.held() == Held("v1", "before")
