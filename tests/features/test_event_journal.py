"""Events from a call to the archive and the state, against a real Valkey: joined, repeated, trimmed, forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkey.asyncio import Valkey
from valkey.exceptions import ResponseError

from features.actions import Action
from features.durability import Durability, DurableWrites
from features.event_archive import (
    SHARDS,
    UNKNOWN_CAUSE,
    Cause,
    FeedbackEvent,
    archive_command,
    archived,
    cause_of,
    shard_of,
    stream_key,
)
from features.event_journal import EventJournal, Forgotten
from features.exposures import Exposure
from features.relations import Relation
from features.user_state import RelationChange, UserStateStore
from tests.features.worlds import NOW

PAGE = Exposure(
    "r1", "ann", NOW, "explore", {"ranking": "b"}, 0.25, "v1", np.array([7, 8]), np.array([0, 1]), np.array([0.5, 1.0])
)


def event(number: int, user_id: str = "ann", request_id: str = "", media_id: int = 7) -> FeedbackEvent:
    return FeedbackEvent(
        f"e{number}", media_id, 3, Action.LIKE, NOW + number, user_id, NOW + number, request_id=request_id
    )


def journal(client: Valkey, archive_events: int = 1_000) -> EventJournal:
    return EventJournal(DurableWrites(client), archive_events)


async def entries(client: Valkey, user_id: str = "ann") -> list[tuple[FeedbackEvent, Cause]]:
    return [archived(fields) for _, fields in await client.xrange(stream_key(shard_of(user_id)))]


async def test_events_are_counted_once_and_archived_as_often_as_they_come(valkey: Valkey) -> None:
    both = {"ann": [event(1), event(2)], "bob": [event(1, "bob")]}
    assert await journal(valkey).record(both) == 3
    assert await journal(valkey).record(both | {"ann": [event(2), event(3)]}) == 1
    assert (await UserStateStore(valkey).read("ann")).counts_A[Action.LIKE] == 3
    assert [each.event_id for each, _ in await entries(valkey)] == ["e1", "e2", "e2", "e3"]


async def test_an_event_is_joined_with_the_page_that_caused_it(valkey: Valkey) -> None:
    await UserStateStore(valkey).remember(PAGE)
    sent = [
        event(1, request_id="r1"),
        event(2, request_id="r1", media_id=8),
        event(3, request_id="r1", media_id=9),
        event(4, request_id="unknown"),
        event(5),
    ]
    await journal(valkey).record({"ann": sent, "bob": [event(6, "bob", "r1")]})
    shown = Cause("v1", {"ranking": "b"}, 0.25, 0.5)
    assert await entries(valkey) == list(
        zip(
            sent,
            [shown, replace(shown, propensity=1.0), replace(shown, propensity=None), UNKNOWN_CAUSE, UNKNOWN_CAUSE],
            strict=True,
        )
    )
    assert (await entries(valkey, "bob"))[-1] == (event(6, "bob", "r1"), UNKNOWN_CAUSE)  # another user's page is none


async def test_the_oldest_events_leave_the_archive(valkey: Valkey) -> None:
    small = journal(valkey, archive_events=SHARDS * 10)
    for number in range(50):
        await small.record({"ann": [event(number * 10 + each) for each in range(10)]})
    left = [each.event_id for each, _ in await entries(valkey)]
    assert left[-1] == "e499"
    assert 10 <= len(left) <= 200  # Valkey trims whole nodes of about a hundred entries


async def test_relations_of_several_users_are_set_at_once(valkey: Valkey) -> None:
    await journal(valkey).relate(
        {"ann": [RelationChange(7, Relation.BLOCKED)], "bob": [RelationChange(8, Relation.FOLLOWED)], "eve": []}
    )
    store = UserStateStore(valkey)
    assert (await store.read("ann")).relations[Relation.BLOCKED].tolist() == [7]
    assert (await store.read("bob")).relations[Relation.FOLLOWED].tolist() == [8]


def user_of_the_same_shard(user_id: str) -> str:
    return next(name for name in (f"user{n}" for n in range(10_000)) if shard_of(name) == shard_of(user_id))


async def test_nothing_of_a_forgotten_user_is_left(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.event_archive.CHUNK", 3)
    other, all_of = user_of_the_same_shard("ann"), journal(valkey)
    await UserStateStore(valkey).remember(PAGE)
    for number in range(7):
        await all_of.record({"ann": [event(number)], other: [event(number, other)]})
    assert await all_of.forget("ann") == Forgotten(state_fields=4, event_ids=7, exposures=1)
    assert await all_of.forget_archived("ann") == 7
    assert [key for key in await valkey.keys() if b"ann" in key] == []
    assert [each.user_id for each, _ in await entries(valkey)] == [other] * 7
    assert (await UserStateStore(valkey).read(other)).counts_A[Action.LIKE] == 7
    assert (await all_of.forget("ann"), await all_of.forget_archived("ann")) == (Forgotten(0, 0, 0), 0)


async def test_a_forgotten_user_starts_afresh(valkey: Valkey) -> None:
    await journal(valkey).record({"ann": [event(1)]})
    await journal(valkey).forget("ann")
    assert await journal(valkey).record({"ann": [event(1)]}) == 1


TEXT = st.text(max_size=10)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
EVENTS = st.builds(
    FeedbackEvent,
    event_id=TEXT,
    media_id=st.integers(1, 2**63 - 1),
    author_id=st.integers(1, 2**63 - 1),
    action=st.sampled_from(Action),
    time_ms=st.integers(-(2**62), 2**62),
    user_id=TEXT,
    device_time_ms=st.integers(0, 2**62),
    value=st.none() | NUMBER,
    request_id=TEXT,
    position=st.none() | st.integers(0, 2**31 - 1),
    surface=TEXT,
)
CAUSES = st.builds(Cause, TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.none() | NUMBER, st.none() | NUMBER)


@given(EVENTS, CAUSES)
def test_an_event_is_read_from_the_archive_as_it_was_written(sent: FeedbackEvent, cause: Cause) -> None:
    command = [str(each).encode() for each in archive_command(sent, cause, 10)]
    names_and_values = command[command.index(b"*") + 1 :]
    assert archived(dict(zip(names_and_values[::2], names_and_values[1::2], strict=True))) == (sent, cause)


def test_no_page_is_no_cause() -> None:
    assert cause_of(event(1), None) == UNKNOWN_CAUSE


async def test_people_are_told_when_nothing_is_promised(valkey: Valkey) -> None:
    assert "EXPLORE_FEEDBACK_DURABILITY" in EventJournal(DurableWrites(valkey, Durability.NONE)).note
    assert EventJournal(DurableWrites(valkey, Durability.AOF)).note == ""


async def test_the_newest_time_is_that_of_the_latest_event_in_any_shard_however_late_others_came(
    valkey: Valkey,
) -> None:
    assert await journal(valkey).newest_ms() == 0
    latest = [
        replace(event(number, user), time_ms=at)
        for number, (user, at) in enumerate([("ann", 50), ("bob", 70), ("bob", 60)])
    ]
    for each in latest:
        await journal(valkey).record({each.user_id: [each]})
    assert await journal(valkey).newest_ms() == 70


async def test_a_user_can_be_forgotten_when_valkey_is_full_and_others_have_to_wait(durable_valkey: Valkey) -> None:
    durable = EventJournal(DurableWrites(durable_valkey, Durability.AOF))
    await durable.record({"ann": [event(1)]})
    await durable_valkey.config_set("maxmemory", "1")
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await durable.record({"ann": [event(2)]})
        assert (await durable.forget("ann")).event_ids == 1
        assert await durable.forget_archived("ann") == 1
    finally:
        await durable_valkey.config_set("maxmemory", "0")
    assert await durable.record({"ann": [event(2)]}) == 1
