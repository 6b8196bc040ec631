"""What LogEvents takes, what it refuses, and what it changes."""

from __future__ import annotations

from typing import Any

import pytest
from valkey.asyncio import Valkey

from features.relations import Relation
from features.user_state import UserStateStore
from gateway.feedback import FeedbackServicer, check_changes, check_events
from protos.explore.v1.feedback_pb2 import (
    Action,
    Event,
    LogEventsRequest,
    RelationChange,
    RelationKind,
    SetRelationsRequest,
)
from serving.errors import InvalidArgument, Unavailable
from tests.gateway.feeds import NOW_MS

CONTEXT: Any = None  # the servicer asks its context for nothing


def _event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": "e1",
        "user_id": "42",
        "media_id": 7,
        "author_id": 3,
        "action": Action.ACTION_LIKE,
        "event_time_ms": NOW_MS,
    }
    return Event(**(fields | changes))


def _servicer(client: Valkey, clock_ms: int = NOW_MS) -> FeedbackServicer:
    return FeedbackServicer(UserStateStore(client), lambda: clock_ms, lambda: NOW_MS)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"event_id": ""}, "event_id"),
    ({"event_id": "x" * 129}, "event_id"),
    ({"user_id": ""}, "user_id"),
    ({"user_id": "x" * 257}, "user_id"),
    ({"media_id": 0}, "media_id"),
    ({"media_id": -5}, "media_id"),
    ({"author_id": 0}, "author_id"),
    ({"action": 0}, "action"),
    ({"action": 99}, "action"),
    ({"event_time_ms": 0}, "event_time_ms"),
    ({"event_time_ms": NOW_MS + 3_600_000}, "event_time_ms"),
    ({"value": 3.0}, "value"),
    ({"action": Action.ACTION_DWELL}, "value"),
    ({"action": Action.ACTION_DWELL, "value": float("nan")}, "value"),
    ({"action": Action.ACTION_DWELL, "value": -1.0}, "value"),
    ({"position": -1}, "position"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=str)
def test_a_wrong_field_is_named_with_its_event(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"events\[1\]\.{field}"):
        check_events([_event(), _event(**changes)], NOW_MS, 0)


@pytest.mark.parametrize("count", [0, 1001])
def test_no_events_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(InvalidArgument, match="1 to 1000 events"):
        check_events([_event()] * count, NOW_MS, 0)


@pytest.mark.parametrize("event_time_ms", [1, 400 * 86_400_000])
def test_a_time_that_lies_before_the_epoch_on_the_cascades_clock_is_refused(event_time_ms: int) -> None:
    """Stages refuse a negative time, so such an event would cost its user every personal page to come."""
    with pytest.raises(InvalidArgument, match=r"events\[0\].event_time_ms lies before 1970"):
        check_events([_event(event_time_ms=event_time_ms)], NOW_MS, -400 * 86_400_000)
    check_events([_event(event_time_ms=400 * 86_400_000 + 1)], NOW_MS, -400 * 86_400_000)


def test_events_are_put_in_order_of_time_per_user() -> None:
    events = [_event(event_id="b", event_time_ms=NOW_MS), _event(event_id="a", event_time_ms=NOW_MS - 5)]
    assert [event.event_id for event in check_events(events, NOW_MS, 0)["42"]] == ["a", "b"]


async def test_an_event_counts_once_however_often_it_is_sent(valkey: Valkey) -> None:
    request = LogEventsRequest(events=[_event()])
    first = await _servicer(valkey).LogEvents(request, CONTEXT)
    again = await _servicer(valkey).LogEvents(request, CONTEXT)
    assert (first.accepted, first.duplicates, again.accepted, again.duplicates) == (1, 0, 0, 1)


async def test_a_stored_event_is_in_the_users_history(valkey: Valkey) -> None:
    await _servicer(valkey).LogEvents(LogEventsRequest(events=[_event()]), CONTEXT)
    state = await UserStateStore(valkey).read("42")
    assert [tuple(row) for row in state.history_H] == [(7, int(Action.ACTION_LIKE), NOW_MS)]


async def test_one_wrong_event_stores_none(valkey: Valkey) -> None:
    with pytest.raises(InvalidArgument):
        await _servicer(valkey).LogEvents(LogEventsRequest(events=[_event(), _event(user_id="")]), CONTEXT)
    assert await valkey.dbsize() == 0


async def test_device_times_are_moved_onto_the_cascades_clock(valkey: Valkey) -> None:
    past_ms = NOW_MS - 86_400_000
    await _servicer(valkey, past_ms).LogEvents(LogEventsRequest(events=[_event(event_time_ms=NOW_MS - 1)]), CONTEXT)
    assert (await UserStateStore(valkey).read("42")).history_H["time_ms"].tolist() == [past_ms - 1]


async def test_events_are_not_accepted_when_they_cannot_be_stored() -> None:
    async with Valkey(port=1) as nowhere:
        with pytest.raises(Unavailable, match="send the same events again"):
            await _servicer(nowhere).LogEvents(LogEventsRequest(events=[_event()]), CONTEXT)


def _change(**changes: Any) -> RelationChange:
    fields: dict[str, Any] = {"user_id": "42", "account_id": 3, "kind": RelationKind.RELATION_KIND_BLOCKED}
    return RelationChange(**(fields | changes))


async def _relations(client: Valkey, user_id: str = "42") -> dict[str, list[int]]:
    relations = (await UserStateStore(client).read(user_id)).relations
    return {relation.name: accounts.tolist() for relation, accounts in relations.items() if len(accounts)}


def test_relation_kinds_on_the_wire_are_those_of_the_store() -> None:
    named = {name.removeprefix("RELATION_KIND_"): number for name, number in RelationKind.items() if number}
    assert named == {relation.name: int(relation) for relation in Relation}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": ""}, "user_id must have 1 to 256 characters"),
        ({"user_id": "x" * 257}, "user_id must have 1 to 256 characters"),
        ({"account_id": 0}, "account_id must be > 0"),
        ({"account_id": -3}, "account_id must be > 0"),
        ({"kind": 0}, "kind must be one of 1 = FOLLOWED, 2 = MUTED, 3 = BLOCKED; got 0"),
        ({"kind": 4}, "kind must be one of"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_with_its_change(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"changes\[3\]\.{field}"):
        check_changes([*[_change()] * 3, _change(**changes)])


@pytest.mark.parametrize("count", [0, 1001])
def test_no_changes_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(InvalidArgument, match=f"changes must hold 1 to 1000 changes, got {count}"):
        check_changes([_change()] * count)


async def test_changes_of_each_user_hold_in_their_order(valkey: Valkey) -> None:
    followed = RelationKind.RELATION_KIND_FOLLOWED
    request = SetRelationsRequest(
        changes=[
            _change(account_id=5, kind=followed),
            _change(account_id=6, kind=followed),
            _change(user_id="43"),
            _change(account_id=5, kind=followed, removed=True),
            _change(user_id="43", removed=True),
            _change(user_id="43", account_id=8, kind=RelationKind.RELATION_KIND_MUTED),
        ]
    )
    for _ in range(2):  # sending them again changes nothing
        await _servicer(valkey).SetRelations(request, CONTEXT)
        assert await _relations(valkey) == {"FOLLOWED": [6]}
        assert await _relations(valkey, "43") == {"MUTED": [8]}


async def test_a_logged_follow_is_a_relation(valkey: Valkey) -> None:
    await _servicer(valkey).LogEvents(LogEventsRequest(events=[_event(action=Action.ACTION_FOLLOW)]), CONTEXT)
    assert await _relations(valkey) == {"FOLLOWED": [3]}


async def test_one_wrong_change_stores_none(valkey: Valkey) -> None:
    request = SetRelationsRequest(changes=[_change(), _change(account_id=0)])
    with pytest.raises(InvalidArgument):
        await _servicer(valkey).SetRelations(request, CONTEXT)
    assert await valkey.dbsize() == 0


async def test_changes_are_not_accepted_when_they_cannot_be_stored() -> None:
    async with Valkey(port=1) as nowhere:
        with pytest.raises(Unavailable, match="send the same changes again"):
            await _servicer(nowhere).SetRelations(SetRelationsRequest(changes=[_change()]), CONTEXT)
