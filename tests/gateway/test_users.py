"""User state as the gateway reads and writes it, against a real Valkey; and a page without it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from valkey.asyncio import Valkey

from features.actions import Action
from features.relations import Relation
from features.user_state import RelationChange, StateEvent, UserStateStore
from gateway.feed import Reason
from gateway.paging import Cursor
from gateway.trace import Trace
from gateway.users import Users, without_doubles
from serving.deadline import Budget
from serving.testing import FakeClock
from tests.features.state_writer import StateWriter
from tests.gateway.feeds import NOW_MS, exposure, feed_request


def _time() -> Budget:
    return Budget(60.0)


def _users(client: Valkey) -> Users:
    return Users(UserStateStore(client), timeout_s=5.0)


async def test_a_user_without_actions_is_cold(valkey: Valkey) -> None:
    assert (await _users(valkey).load(feed_request(), _time(), Trace(False))).cold


async def test_a_like_is_seen_by_the_next_request(valkey: Valkey) -> None:
    await StateWriter(valkey).append("42", [StateEvent("e1", 7, 3, Action.LIKE, NOW_MS - 1)])
    user = await _users(valkey).load(feed_request(), _time(), Trace(False))
    assert (user.cold, user.contexts.history_media_id_H.tolist()) == (False, [7])


async def test_a_blocked_account_is_known_to_the_next_request(valkey: Valkey) -> None:
    await StateWriter(valkey).set_relations("42", [RelationChange(9, Relation.BLOCKED)])
    contexts = (await _users(valkey).load(feed_request(), _time(), Trace(False))).contexts
    assert (contexts.relation_account_id_R.tolist(), contexts.relation_kind_R.tolist()) == ([9], [Relation.BLOCKED])


async def test_a_remembered_page_is_seen_by_the_next_request(valkey: Valkey) -> None:
    users, trace = _users(valkey), Trace(False)
    await users.remember(feed_request(), exposure(5, 6), _time(), trace)
    assert (await users.load(feed_request(), _time(), trace)).seen_S.tolist() == [5, 6]


async def test_seen_media_come_from_the_store_and_from_the_page_token(valkey: Valkey) -> None:
    users, trace = _users(valkey), Trace(False)
    await users.remember(feed_request(), exposure(5), _time(), trace)
    user = await users.load(feed_request(cursor=Cursor(2, np.array([9, 5]))), _time(), trace)
    assert user.seen_S.tolist() == [5, 9]


async def test_a_lost_store_degrades_the_page_and_says_so() -> None:
    trace = Trace(False)
    async with Valkey(port=1) as nowhere:
        user = await _users(nowhere).load(feed_request(cursor=Cursor(1, np.array([9]))), _time(), trace)
    assert (user.cold, user.seen_S.tolist(), trace.degradations[0].reason) == (True, [9], Reason.UNAVAILABLE)


async def test_a_page_that_cannot_be_remembered_degrades_and_does_not_fail() -> None:
    trace = Trace(False)
    async with Valkey(port=1) as nowhere:
        await _users(nowhere).remember(feed_request(), exposure(5), _time(), trace)
    assert [d.stage for d in trace.degradations] == ["user_state"]


async def test_an_empty_page_leaves_nothing_to_remember() -> None:
    trace = Trace(False)
    async with Valkey(port=1) as nowhere:
        await _users(nowhere).remember(feed_request(), exposure(), _time(), trace)
    assert trace.degradations == []


async def test_a_late_store_is_not_waited_for(valkey: Valkey) -> None:
    trace = Trace(False)
    await valkey.client_pause(300)
    await Users(UserStateStore(valkey), timeout_s=0.01).load(feed_request(), _time(), trace)
    await valkey.client_unpause()
    assert [d.reason for d in trace.degradations] == [Reason.DEADLINE]


async def test_a_hurried_request_does_not_give_its_time_to_a_store_that_hangs(valkey: Valkey) -> None:
    trace, budget = Trace(False), Budget(0.05)
    await valkey.client_pause(300)
    await _users(valkey).load(feed_request(), budget, trace)
    await _users(valkey).remember(feed_request(), exposure(5), budget, trace)
    await valkey.client_unpause()
    assert [d.reason for d in trace.degradations] == [Reason.DEADLINE] * 2


async def test_a_request_without_time_is_not_remembered_and_says_so(valkey: Valkey) -> None:
    trace, budget = Trace(False), Budget(0.0, FakeClock())
    await _users(valkey).remember(feed_request(), exposure(5), budget, trace)
    assert [d.reason for d in trace.degradations] == [Reason.DEADLINE]


@given(st.lists(st.integers(1, 20)), st.lists(st.integers(1, 2**63 - 1)))
def test_seen_media_are_their_union(seen: list[int], shown: list[int]) -> None:
    seen_S, shown_S = np.array(seen, np.int64), np.array(shown, np.int64)
    assert without_doubles(seen_S, shown_S).tolist() == np.union1d(seen_S, shown_S).tolist()
