"""Which bundle versions can be answered from, and for how long."""

from __future__ import annotations

import weakref

import pytest

from serving.errors import BundleNotHeld, NotReady
from serving.holder import MAX_PINNED, Held, Holder
from serving.testing import FakeClock

PIN_S = 10.0


class Model:
    """Something that a weak reference can watch."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def holder(clock: FakeClock) -> Holder[str]:
    """Holds v2, which is current, and v1."""
    holder = Holder[str](PIN_S, clock)
    for version in ("v1", "v2"):
        holder.put(version, version.upper())
    return holder


def test_looking_at_a_version_pins_nothing(holder: Holder[str], clock: FakeClock) -> None:
    assert holder.peek("v1") == Held("v1", "V1")
    assert holder.peek("v0") is None
    assert holder.put("v3", "V3") == [Held("v1", "V1")]
    holder.held("v2")  # asked for, it stays
    assert holder.put("v4", "V4") == []


def test_nothing_is_held_at_first() -> None:
    for version in ("", "v1"):
        with pytest.raises(NotReady):
            Holder[str]().held(version)


def test_current_version_is_the_default_and_the_previous_one_can_be_pinned(holder: Holder[str]) -> None:
    assert holder.put("v3", "V3") == [Held("v1", "V1")]
    assert holder.held() == Held("v3", "V3")
    assert holder.held("v2").value == "V2"
    with pytest.raises(BundleNotHeld, match="'v1' is not held; held: v3, v2"):
        holder.held("v1")


def test_putting_a_version_again_replaces_its_value() -> None:
    holder = Holder[str]()
    for version, value in (("v1", "a"), ("v2", "b"), ("v2", "c"), ("v1", "d")):
        holder.put(version, value)
    assert (holder.versions(), holder.held().value, holder.held("v2").value) == (["v1", "v2"], "d", "c")


def test_going_back_to_the_previous_version_makes_nothing_anew(holder: Holder[str]) -> None:
    before = holder.held("v1")
    assert holder.switch("v1") == []
    assert (holder.held(), holder.versions()) == (before, ["v1", "v2"])
    with pytest.raises(BundleNotHeld):
        holder.switch("v3")
    assert holder.versions() == ["v1", "v2"]


def test_a_version_that_requests_are_pinned_to_stays_until_they_must_have_ended(
    holder: Holder[str], clock: FakeClock
) -> None:
    holder.held("v1")
    clock.advance(PIN_S)
    assert holder.put("v3", "V3") == []
    assert holder.held("v1").value == "V1"  # which pins it once more
    clock.advance(PIN_S)
    assert holder.keep([]) == []
    clock.advance(0.1)
    assert holder.keep([]) == [Held("v1", "V1")]


def test_a_pin_that_somebody_announces_counts_like_a_request(holder: Holder[str], clock: FakeClock) -> None:
    holder.pin(["v1", "never heard of"])
    holder.put("v3", "V3")
    assert holder.versions() == ["v3", "v2", "v1"]
    clock.advance(PIN_S + 1)
    holder.keep([])
    assert holder.versions() == ["v3", "v2"]


def test_pins_keep_a_bounded_number_of_versions_the_latest_ones(holder: Holder[str], clock: FakeClock) -> None:
    for number in range(3, 12):
        holder.held(f"v{number - 1}")
        clock.advance(0.1)
        holder.put(f"v{number}", "")
    assert holder.versions() == ["v11", "v10", "v8", "v9"]
    assert len(holder.versions()) == 2 + MAX_PINNED


def test_versions_that_are_named_stay_until_they_are_named_no_more(holder: Holder[str]) -> None:
    holder.add("v0", "V0")
    holder.put("v3", "V3")
    assert holder.keep(["v0", "v1", "not here"]) == []
    assert holder.versions() == ["v3", "v2", "v0"]
    assert holder.keep([]) == [Held("v0", "V0")]


def test_a_version_that_is_only_held_besides_is_nobodys_default() -> None:
    holder = Holder[str]()
    holder.add("v1", "V1")
    with pytest.raises(NotReady):
        holder.held()


def test_a_dropped_value_lives_as_long_as_the_call_that_has_it() -> None:
    holder = Holder[Model]()
    holder.put("v1", Model())
    call = holder.held()
    watched = weakref.ref(call.value)
    for version in ("v2", "v3"):
        holder.put(version, Model())
    assert watched() is call.value
    del call
    assert watched() is None
