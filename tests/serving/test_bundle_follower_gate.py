"""A process that waits for others before it serves from a version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bundles.store import BundleStore
from serving.bundle_follower import BundleFollower, Lack, Source
from serving.holder import Holder
from serving.testing import FakeClock
from tests.serving.conftest import Model, Publish


class Others:
    """A gate whose answers are set by hand."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s, self.told = patience_s, list[list[str]]()
        self.lacks: dict[str, Lack] = {}

    async def look(self, pinned: Sequence[str]) -> None:
        self.told.append(list(pinned))

    def lack(self, version: str) -> Lack:
        return self.lacks.get(version, Lack())


@pytest.fixture
def others() -> Others:
    return Others(patience_s=5.0)


@pytest.fixture
def follower(store: BundleStore, holder: Holder[Model], others: Others, clock: FakeClock) -> BundleFollower[Model]:
    return BundleFollower(Source(store, "f00d"), Model, holder, 0.001, others, clock)


async def test_it_goes_on_until_all_who_answer_hold_the_new_version_and_says_who_does_not(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    others: Others,
    publish: Publish,
    clock: FakeClock,
) -> None:
    first = publish("1")
    await follower.load()
    second = publish("2")
    others.lacks[second] = Lack(without=("rank :1",))
    for _ in range(3):
        await follower.step()
        clock.advance(60)
    assert (holder.versions(), follower.note()) == ([first], f"bundle {second} is loaded and waits for rank :1")
    assert others.told[-1] == [first]
    del others.lacks[second]
    await follower.step()
    assert (holder.versions(), follower.note()) == ([second, first], "")


async def test_it_waits_for_those_who_are_away_only_so_long(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    others: Others,
    publish: Publish,
    clock: FakeClock,
) -> None:
    first = publish("1")
    await follower.load()
    second = publish("2")
    others.lacks[second] = Lack(away=("rank :1",))
    await follower.step()
    clock.advance(others.patience_s - 0.1)
    await follower.step()
    assert (holder.versions(), "rank :1 (does not answer)" in follower.note()) == ([first], True)
    clock.advance(0.2)
    await follower.step()
    assert holder.versions() == [second, first]


async def test_it_goes_back_only_when_all_still_hold_the_version_before(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    others: Others,
    publish: Publish,
    store: BundleStore,
) -> None:
    first, second = publish("1"), publish("2")
    await follower.load()
    store.activate(first)
    others.lacks[first] = Lack(without=("rank :1",))
    await follower.step()
    assert holder.versions() == [second, first]
    others.lacks.clear()
    await follower.step()
    assert holder.versions() == [first, second]


async def test_a_version_held_besides_can_be_asked_for_when_all_hold_it(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    others: Others,
    publish: Publish,
    store: BundleStore,
) -> None:
    first, arm = publish("1"), publish("arm", activate=False)
    await follower.load()
    store.hold(arm)
    others.lacks[arm] = Lack(without=("rank :1",))
    await follower.step()
    assert holder.versions() == [first]
    others.lacks.clear()
    await follower.step()
    assert holder.versions() == [first, arm]


async def test_it_starts_with_the_version_that_all_hold(
    follower: BundleFollower[Model], holder: Holder[Model], others: Others, publish: Publish
) -> None:
    first, second = publish("1"), publish("2")
    others.lacks[second] = Lack(without=("rank :1",))
    await follower.load()
    assert holder.held().version == first
    others.lacks.clear()
    await follower.step()
    assert holder.held().version == second


@pytest.mark.parametrize("lack", [Lack(away=("rank :1",)), Lack(without=("rank :1",))])
async def test_it_starts_although_nobody_holds_anything(
    follower: BundleFollower[Model],
    holder: Holder[Model],
    others: Others,
    publish: Publish,
    clock: FakeClock,
    lack: Lack,
) -> None:
    version = publish("1")
    others.lacks[version] = lack
    loading = asyncio.create_task(follower.load())
    while not others.told:
        await asyncio.sleep(0)
    assert not loading.done()
    clock.advance(others.patience_s)
    await loading
    assert (holder.versions(), others.told[0]) == ([version], [version])


async def test_somebody_who_lost_the_version_that_serves_is_named(
    follower: BundleFollower[Model], others: Others, publish: Publish
) -> None:
    version = publish("1")
    await follower.load()
    others.lacks[version] = Lack(without=("rank :1",))
    await follower.step()
    assert follower.note() == f"bundle {version} serves, but is not held by rank :1"
