"""Bundles that change while a process serves. Real bundles on disk; steps are taken by hand, so nothing waits."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.bundle import Bundle
from bundles.errors import BundleMissing
from bundles.store import BundleStore
from serving.bundle_follower import BundleFollower, Source
from serving.errors import BundleRefused, SettingRefused
from serving.holder import Holder
from serving.testing import FakeClock
from tests.serving.conftest import PIN_S, Model, Publish, spoil


@pytest.fixture
def follower(store: BundleStore, holder: Holder[Model]) -> BundleFollower[Model]:
    return BundleFollower(Source(store, "f00d"), Model, holder, poll_s=0.001)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_is_activated_serves_and_what_was_before_can_still_be_pinned(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish
) -> None:
    first = publish("one")
    await follower.load()
    running = holder.held()
    second = publish("two")
    await follower.step()
    assert (holder.held().value.text, holder.held(first).value.text) == ("two", "one")
    assert (holder.versions(), running.value.text, follower.note()) == ([second, first], "one", "")


async def test_going_back_takes_one_look_and_loads_nothing(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    first, second = publish("one"), publish("two")
    await follower.load()
    before = holder.held(first).value
    spoil(store, first)  # what is held is not read again
    store.activate(first)
    await follower.step()
    assert holder.held().value is before
    assert holder.versions() == [first, second]


async def test_a_process_that_starts_holds_all_that_requests_may_be_pinned_to(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    arm, first, second = (publish(text) for text in ("arm", "one", "two"))
    store.hold(arm)
    await follower.load()
    assert holder.versions() == [second, first, arm]


async def test_versions_held_besides_come_and_go(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    current, arm = publish("one"), publish("arm", activate=False)
    await follower.load()
    store.hold(arm)
    await follower.step()
    assert (holder.versions(), holder.held(arm).value.text) == ([current, arm], "arm")
    store.release(arm)
    await follower.step()
    assert holder.versions() == [current, arm]  # pinned a moment ago
    holder._clock.advance(PIN_S + 1)  # type: ignore[attr-defined]
    await follower.step()
    assert holder.versions() == [current]


@pytest.mark.parametrize(
    ("text", "changes", "problem"),
    [
        ("two", {"schema_fingerprint": "beef"}, "manifest.json has schema_fingerprint beef, this process computes"),
        ("unreadable", {}, "it cannot be read"),
        ("bug", {}, "ZeroDivisionError, see the log"),
    ],
)
async def test_a_bundle_that_cannot_serve_is_refused_by_name_once_and_what_is_held_goes_on(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    publish: Publish,
    caplog: pytest.LogCaptureFixture,
    text: str,
    changes: dict[str, str],
    problem: str,
) -> None:
    first = publish("one")
    await follower.load()
    bad = publish(text, **changes)
    for _ in range(3):
        await follower.step()
    assert holder.versions() == [first]
    assert f"bundle {bad} is refused, {first} goes on: " in follower.note()
    assert problem in follower.note()
    assert follower.refused() == [bad]
    assert len(errors(caplog)) == 1
    good = publish("three")
    await follower.step()
    # The refused one is the pointer's previous now: nothing serves from it, and people should still know.
    assert (holder.versions(), holder.held().value.text, bad in follower.note()) == ([good, first], "three", True)


async def test_a_corrupt_bundle_is_refused_by_file_until_it_is_mended(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    publish("one")
    await follower.load()
    second = publish("two", activate=False)
    spoil(store, second, "tw0")
    store.activate(second)
    await follower.step()
    assert "table: has another sha256 than when it was published" in follower.note()
    (store.root / second).chmod(0o755)
    (store.root / second / "table").unlink()
    await follower.step()
    assert "table: is missing" in follower.note()
    (store.root / second / "table").write_text("two")
    await follower.step()
    assert (holder.held().value.text, follower.note(), follower.refused()) == ("two", "", [])


async def test_a_bundle_refused_for_a_setting_is_tried_again_when_the_setting_changes(
    store: BundleStore, holder: Holder[str], publish: Publish, tmp_path: Path
) -> None:
    setting = tmp_path / "query"
    setting.write_text("one")
    made: list[str] = []

    def make(bundle: Bundle) -> str:
        made.append(bundle.version)
        if bundle.file("table").read_text() not in setting.read_text():
            raise SettingRefused(bundle.version, "query names nothing of it")
        return "made"

    follower = BundleFollower(Source(store, "f00d", (setting,)), make, holder, 0.001)
    publish("one")
    await follower.load()
    second = publish("two")
    for _ in range(3):
        await follower.step()
    assert made.count(second) == 1
    setting.write_text("one or two")
    await follower.step()
    assert (holder.versions()[0], made.count(second)) == (second, 2)


async def test_a_process_that_starts_while_the_active_bundle_is_corrupt_serves_the_one_before(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    first, second = publish("one"), publish("two")
    spoil(store, second)
    await follower.load()
    assert (holder.held().version, second in follower.note()) == (first, True)


async def test_loading_fails_by_name_when_nothing_can_serve(
    follower: BundleFollower[Model], publish: Publish, store: BundleStore
) -> None:
    with pytest.raises(BundleMissing, match="no bundle is active"):
        await follower.load()
    first = publish("one")
    spoil(store, first)
    for _ in range(2):
        with pytest.raises(BundleRefused, match=f"bundle {first} is refused: table: has 6 bytes"):
            await follower.load()


async def test_a_version_that_is_only_held_besides_never_serves_in_place_of_a_corrupt_one(
    follower: BundleFollower[Model], publish: Publish, store: BundleStore
) -> None:
    arm, current = publish("arm", activate=False), publish("one")
    store.hold(arm)
    spoil(store, current)
    with pytest.raises(BundleRefused, match=current):
        await follower.load()


async def test_a_store_that_is_away_for_a_while_costs_nothing_that_is_held(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    arm, first, second = publish("arm", activate=False), publish("one"), publish("two")
    store.hold(arm)
    await follower.load()
    store.root.rename(store.root.with_name("away"))
    for _ in range(2):
        await follower.step()
    assert (holder.versions(), "no bundle is active" in follower.note()) == ([second, first, arm], True)
    store.root.with_name("away").rename(store.root)
    await follower.step()
    assert (holder.versions(), follower.note()) == ([second, first, arm], "")


@pytest.mark.parametrize("content", [b"nonsense", b"\xff\xfe", b""])
async def test_a_broken_pointer_changes_nothing_and_is_noted(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    publish: Publish,
    store: BundleStore,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    first = publish("one")
    await follower.load()
    (store.root / "CURRENT").write_bytes(content)
    for _ in range(3):
        await follower.step()
    assert (holder.versions(), "CURRENT" in follower.note(), len(errors(caplog))) == ([first], True, 1)
    second = publish("two")
    await follower.step()
    assert (holder.held().version, follower.note()) == (second, "")


async def test_a_broken_list_of_further_versions_keeps_nobody_from_the_active_one(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, store: BundleStore
) -> None:
    current = publish("one")
    (store.root / "ALSO").write_text("nonsense")
    await follower.load()
    assert (holder.versions(), "ALSO" in follower.note()) == ([current], True)


@pytest.fixture
def no_gc() -> Iterator[None]:
    """What is freed is freed because nothing refers to it any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
async def test_a_version_that_nobody_needs_is_freed_and_not_in_the_event_loops_thread(
    store: BundleStore, publish: Publish, clock: FakeClock
) -> None:
    freed: list[tuple[str, bool]] = []

    def make(bundle: Bundle) -> Model:
        model, loop_thread = Model(bundle), threading.main_thread()
        weakref.finalize(
            model, lambda text: freed.append((text, threading.current_thread() is loop_thread)), model.text
        )
        return model

    follower = BundleFollower(Source(store, "f00d"), make, Holder[Model](PIN_S, clock), 0.001)
    publish("1")
    await follower.load()
    for text in "2345":
        publish(text)
        await follower.step()
    assert freed == [("1", False), ("2", False), ("3", False)]


async def test_a_version_that_a_request_is_pinned_to_outlives_two_swaps(
    follower: BundleFollower[Model], holder: Holder[Model], publish: Publish, clock: FakeClock
) -> None:
    first = publish("1")
    await follower.load()
    holder.held(first)
    for text in "23":
        publish(text)
        await follower.step()
    assert holder.held(first).value.text == "1"
    clock.advance(PIN_S + 1)
    await follower.step()
    assert first not in holder.versions()


async def test_following_looks_when_asked_to_and_survives_what_goes_wrong(
    store: BundleStore,
    holder: Holder[Model],
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stepped = asyncio.Queue[None]()
    follower = BundleFollower(Source(store, "f00d"), Model, holder, poll_s=3600)

    async def step() -> None:
        stepped.put_nowait(None)
        raise RuntimeError("a bug")

    monkeypatch.setattr(follower, "step", step)
    following = asyncio.create_task(follower.follow())
    for _ in range(2):
        follower.look_again()
        async with asyncio.timeout(10):
            await stepped.get()
    following.cancel()
    await asyncio.wait([following])
    assert len(errors(caplog)) == 2


async def test_verifying_gives_way_to_requests_and_nothing_else_does(
    store: BundleStore, holder: Holder[int], publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    opening = store.open

    def watched(version: str, fingerprint: str | None, parts: tuple[str, ...] | None) -> Bundle:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return opening(version, fingerprint, parts)

    monkeypatch.setattr(store, "open", watched)
    publish("1")
    here = os.getpriority(os.PRIO_PROCESS, 0)
    follower = BundleFollower(
        Source(store, "f00d"), lambda _: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), holder, 0.001
    )
    await follower.load()
    assert (seen[0] > here or here >= 19, holder.held().value) == (True, here)
