"""What FeedbackService stores, what it acknowledges, and what is left of a user who is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from valkey.asyncio import Valkey

from features.durability import Durability, DurableWrites
from features.event_archive import shard_of, stream_key
from features.event_journal import EventJournal
from features.exposures import Exposure
from features.user_state import UserStateStore, user_key
from gateway.feedback import DELETIONS, Clocks, FeedbackServicer, nothing_logged
from protos.explore.v1 import feedback_pb2
from protos.explore.v1.feedback_pb2 import (
    Action,
    DeleteUserRequest,
    LogEventsRequest,
    RefusalReason,
    RelationKind,
    SetRelationsRequest,
    StreamEventsRequest,
    StreamEventsResponse,
)
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub, add_FeedbackServiceServicer_to_server
from serving.errors import InvalidArgument, Unavailable
from serving.server import Service
from serving.testing import serve
from tests.gateway.feedbacks import change, event
from tests.gateway.feeds import NOW_MS

CONTEXT: Any = None  # the servicer asks its context for nothing
STREAM = f"/{feedback_pb2.DESCRIPTOR.services_by_name['FeedbackService'].full_name}/StreamEvents"


def _servicer(
    client: Valkey,
    clock_ms: int = NOW_MS,
    durability: Durability = Durability.AOF,
    forget_logged: Callable[[str], Awaitable[int]] = nothing_logged,
    page_s: float = 0.0,
    timeout_s: float = 5.0,
) -> FeedbackServicer:
    journal = EventJournal(DurableWrites(client, durability, timeout_s))
    return FeedbackServicer(journal, Clocks(lambda: clock_ms, lambda: NOW_MS), forget_logged, page_s)


async def _archived(client: Valkey, user_id: str = "42") -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await client.xrange(stream_key(shard_of(user_id)))]


async def test_an_event_counts_once_however_often_it_is_sent(durable_valkey: Valkey) -> None:
    request = LogEventsRequest(events=[event()])
    first = await _servicer(durable_valkey).LogEvents(request, CONTEXT)
    again = await _servicer(durable_valkey).LogEvents(request, CONTEXT)
    assert (first.accepted, first.duplicates, again.accepted, again.duplicates) == (1, 0, 0, 1)


async def test_a_stored_event_is_in_the_users_history(durable_valkey: Valkey) -> None:
    await _servicer(durable_valkey).LogEvents(LogEventsRequest(events=[event()]), CONTEXT)
    state = await UserStateStore(durable_valkey).read("42")
    assert [tuple(row) for row in state.history_H] == [(7, int(Action.ACTION_LIKE), NOW_MS - 1)]


async def test_one_wrong_event_stores_none(durable_valkey: Valkey) -> None:
    with pytest.raises(InvalidArgument):
        await _servicer(durable_valkey).LogEvents(LogEventsRequest(events=[event(), event(user_id="")]), CONTEXT)
    assert await durable_valkey.dbsize() == 0


async def test_device_times_are_moved_onto_the_cascades_clock(durable_valkey: Valkey) -> None:
    past_ms = NOW_MS - 86_400_000
    await _servicer(durable_valkey, past_ms).LogEvents(
        LogEventsRequest(events=[event(event_time_ms=NOW_MS - 1)]), CONTEXT
    )
    assert (await UserStateStore(durable_valkey).read("42")).history_H["time_ms"].tolist() == [past_ms - 1]


async def test_events_are_not_accepted_when_they_cannot_be_stored() -> None:
    async with Valkey(port=1) as nowhere:
        with pytest.raises(Unavailable, match="send the same events again"):
            await _servicer(nowhere).LogEvents(LogEventsRequest(events=[event()]), CONTEXT)


async def _relations(client: Valkey, user_id: str = "42") -> dict[str, list[int]]:
    relations = (await UserStateStore(client).read(user_id)).relations
    return {relation.name: accounts.tolist() for relation, accounts in relations.items() if len(accounts)}


async def test_changes_of_each_user_hold_in_their_order(durable_valkey: Valkey) -> None:
    followed = RelationKind.RELATION_KIND_FOLLOWED
    request = SetRelationsRequest(
        changes=[
            change(account_id=5, kind=followed),
            change(account_id=6, kind=followed),
            change(user_id="43"),
            change(account_id=5, kind=followed, removed=True),
            change(user_id="43", removed=True),
            change(user_id="43", account_id=8, kind=RelationKind.RELATION_KIND_MUTED),
        ]
    )
    for _ in range(2):  # sending them again changes nothing
        await _servicer(durable_valkey).SetRelations(request, CONTEXT)
        assert await _relations(durable_valkey) == {"FOLLOWED": [6]}
        assert await _relations(durable_valkey, "43") == {"MUTED": [8]}


async def test_a_logged_follow_is_a_relation(durable_valkey: Valkey) -> None:
    await _servicer(durable_valkey).LogEvents(LogEventsRequest(events=[event(action=Action.ACTION_FOLLOW)]), CONTEXT)
    assert await _relations(durable_valkey) == {"FOLLOWED": [3]}


async def test_one_wrong_change_stores_none(durable_valkey: Valkey) -> None:
    request = SetRelationsRequest(changes=[change(), change(account_id=0)])
    with pytest.raises(InvalidArgument):
        await _servicer(durable_valkey).SetRelations(request, CONTEXT)
    assert await durable_valkey.dbsize() == 0


async def test_changes_are_not_accepted_when_they_cannot_be_stored() -> None:
    async with Valkey(port=1) as nowhere:
        with pytest.raises(Unavailable, match="send the same changes again"):
            await _servicer(nowhere).SetRelations(SetRelationsRequest(changes=[change()]), CONTEXT)


async def test_an_event_of_a_server_without_append_only_file_is_not_acknowledged(valkey: Valkey) -> None:
    with pytest.raises(Unavailable, match="set `appendonly yes` there; send the same events again"):
        await _servicer(valkey).LogEvents(LogEventsRequest(events=[event()]), CONTEXT)
    with pytest.raises(Unavailable, match="set `appendonly yes` there; send the same changes again"):
        await _servicer(valkey).SetRelations(SetRelationsRequest(changes=[change()]), CONTEXT)


async def test_a_server_that_is_a_cache_may_be_told_so(valkey: Valkey) -> None:
    cache = _servicer(valkey, durability=Durability.NONE)
    assert (await cache.LogEvents(LogEventsRequest(events=[event()]), CONTEXT)).accepted == 1


async def test_a_late_store_is_not_waited_for_and_serves_the_next_call(durable_valkey: Valkey) -> None:
    request = LogEventsRequest(events=[event()])
    await durable_valkey.client_pause(300)
    with pytest.raises(Unavailable, match="TimeoutError; send the same events again"):
        await _servicer(durable_valkey, timeout_s=0.05).LogEvents(request, CONTEXT)
    await durable_valkey.client_unpause()
    answer = await _servicer(durable_valkey).LogEvents(request, CONTEXT)
    assert answer.accepted + answer.duplicates == 1


async def test_every_event_is_archived_whole(durable_valkey: Valkey) -> None:
    sent = event(position=3, request_id="r1", surface="explore", event_time_ms=NOW_MS - 1)
    await _servicer(durable_valkey, NOW_MS - 100).LogEvents(LogEventsRequest(events=[sent]), CONTEXT)
    (entry,) = await _archived(durable_valkey)
    assert {name.decode(): value.decode() for name, value in entry.items()} == {
        "user_id": "42",
        "event_id": "e1",
        "media_id": "7",
        "author_id": "3",
        "action": "4",
        "time_ms": str(NOW_MS - 101),
        "device_time_ms": str(NOW_MS - 1),
        "request_id": "r1",
        "position": "3",
        "surface": "explore",
    }


@asynccontextmanager
async def _served(servicer: FeedbackServicer) -> AsyncIterator[grpc.aio.Channel]:
    service = Service((), lambda server: add_FeedbackServiceServicer_to_server(servicer, server))
    async with serve(service) as channel:
        yield channel


def _message(*event_ids: str, **changes: Any) -> StreamEventsRequest:
    return StreamEventsRequest(events=[event(event_id=event_id, **changes) for event_id in event_ids])


async def test_every_message_of_a_stream_is_answered_in_order(durable_valkey: Valkey) -> None:
    messages = [_message("a", "b"), _message("b", "c"), _message(), _message("d", user_id=""), _message("e")]
    async with _served(_servicer(durable_valkey)) as channel:
        found = [answer async for answer in FeedbackServiceStub(channel).StreamEvents(iter(messages))]
    assert [(each.message, each.accepted + each.duplicates) for each in found] == [
        (0, 2),
        (1, 2),
        (2, 0),
        (3, 0),
        (4, 1),
    ]
    assert sum(each.accepted for each in found) == 4  # messages are stored at the same time: who stored b is open
    refused = {each.message: each.refusal for each in found if each.HasField("refusal")}
    assert {place: refusal.reason for place, refusal in refused.items()} == dict.fromkeys(
        (2, 3), RefusalReason.REFUSAL_REASON_INVALID
    )
    assert refused[3].detail == "events[0].user_id must have 1 to 256 characters"
    assert (await UserStateStore(durable_valkey).read("42")).counts_A[Action.ACTION_LIKE] == 4


async def test_bytes_that_are_no_message_do_not_end_the_stream(durable_valkey: Valkey) -> None:
    async with _served(_servicer(durable_valkey)) as channel:
        call = channel.stream_stream(STREAM, None, StreamEventsResponse.FromString)
        found = [answer async for answer in call(iter([b"\xff\xff", _message("a").SerializeToString()]))]
    assert [each.accepted for each in found] == [0, 1]
    assert found[0].refusal.detail == f"request is not a message that {STREAM} takes"


async def test_a_lost_store_refuses_messages_and_not_the_stream() -> None:
    async with Valkey(port=1) as nowhere, _served(_servicer(nowhere)) as channel:
        found = [a async for a in FeedbackServiceStub(channel).StreamEvents(iter([_message("a"), _message("b")]))]
    assert [each.refusal.reason for each in found] == [RefusalReason.REFUSAL_REASON_UNAVAILABLE] * 2
    assert "send the same events again" in found[0].refusal.detail


async def test_an_acknowledgement_comes_while_the_stream_is_open(durable_valkey: Valkey) -> None:
    async with _served(_servicer(durable_valkey)) as channel:
        call = FeedbackServiceStub(channel).StreamEvents()
        for name in ("a", "b"):
            await call.write(_message(name))
            assert (await call.read()).accepted == 1
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF  # type: ignore[attr-defined]


async def test_a_deleted_user_is_a_new_one(durable_valkey: Valkey) -> None:
    asked: list[str] = []

    async def forget_logged(user_id: str) -> int:
        asked.append(user_id)
        return 500

    servicer = _servicer(durable_valkey, forget_logged=forget_logged)
    mine = [event(event_id=f"e{number}") for number in range(3)]
    await servicer.LogEvents(LogEventsRequest(events=[*mine, event(user_id="43")]), CONTEXT)
    first = await servicer.DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT)
    again = await servicer.DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT)
    assert (first.state_fields, first.event_ids, first.exposures, first.archived_events) == (3, 3, 0, 3)
    assert (again.state_fields, again.event_ids, again.exposures, again.archived_events) == (0, 0, 0, 0)
    assert (first.funnel_rows, asked) == (500, ["42", "42"])
    assert len(await _archived(durable_valkey, "43")) == 1
    assert (await servicer.LogEvents(LogEventsRequest(events=mine), CONTEXT)).accepted == 3


async def test_a_page_that_was_being_made_of_a_deleted_user_leaves_nothing_behind(durable_valkey: Valkey) -> None:
    servicer = _servicer(durable_valkey, page_s=0.5)
    await servicer.LogEvents(LogEventsRequest(events=[event()]), CONTEXT)
    deletion = asyncio.create_task(servicer.DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT))
    while await durable_valkey.exists(user_key("42")):
        pass
    shown = np.array([7], np.int64)
    page = Exposure("r1", "42", NOW_MS, "explore", {}, 1.0, "v1", shown, np.zeros(1, np.int64), np.ones(1))
    await UserStateStore(durable_valkey).remember(page)
    assert (await deletion).exposures == 1
    assert await durable_valkey.keys(user_key("42") + "*") == []


async def test_so_many_deletions_work_at_a_time_and_all_may_wait(durable_valkey: Valkey) -> None:
    working, most, gate = 0, 0, asyncio.Event()

    async def forget_logged(user_id: str) -> int:
        nonlocal working, most
        working, most = working + 1, max(most, working + 1)
        if working == DELETIONS:
            gate.set()
        await gate.wait()
        await asyncio.sleep(0)
        working -= 1
        return 1

    servicer = _servicer(durable_valkey, forget_logged=forget_logged)
    users = [f"user-{number}" for number in range(3 * DELETIONS)]
    done = await asyncio.gather(*(servicer.DeleteUser(DeleteUserRequest(user_id=user), CONTEXT) for user in users))
    assert ([each.funnel_rows for each in done], most) == ([1] * len(users), DELETIONS)


async def test_a_deletion_that_fails_half_way_says_so_and_a_repeat_finishes(durable_valkey: Valkey) -> None:
    broken = True

    async def forget_logged(user_id: str) -> int:
        if broken:
            raise OSError("disk full")
        return 7

    servicer = _servicer(durable_valkey, forget_logged=forget_logged)
    await servicer.LogEvents(LogEventsRequest(events=[event()]), CONTEXT)
    with pytest.raises(Unavailable, match="1 archived_events; call again to remove the rest"):
        await servicer.DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT)
    broken = False
    assert (await servicer.DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT)).funnel_rows == 7


async def test_a_deletion_without_a_store_removes_nothing_and_says_so() -> None:
    async with Valkey(port=1) as nowhere:
        with pytest.raises(Unavailable, match="removed so far: nothing"):
            await _servicer(nowhere).DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT)


@pytest.mark.parametrize("user_id", ["", "x" * 257])
async def test_a_user_who_cannot_be_is_not_deleted(durable_valkey: Valkey, user_id: str) -> None:
    with pytest.raises(InvalidArgument, match="user_id must have 1 to 256 characters"):
        await _servicer(durable_valkey).DeleteUser(DeleteUserRequest(user_id=user_id), CONTEXT)


async def test_events_that_come_while_a_user_is_deleted_are_not_counted_twice(durable_valkey: Valkey) -> None:
    servicer = _servicer(durable_valkey)
    requests = [LogEventsRequest(events=[event(event_id=f"e{number}")]) for number in range(50)]
    await asyncio.gather(
        *(servicer.LogEvents(request, CONTEXT) for request in requests),
        servicer.DeleteUser(DeleteUserRequest(user_id="42"), CONTEXT),
    )
    state = await UserStateStore(durable_valkey).read("42")
    assert state.counts_A[Action.ACTION_LIKE] == len(state.history_H) <= 50
