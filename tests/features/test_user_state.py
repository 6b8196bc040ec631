"""User state against a real Valkey server."""

from __future__ import annotations

import numpy as np
import pytest
from valkey.asyncio import Valkey

from features.actions import HISTORY_ACTIONS, Action
from features.context import HISTORY_LENGTH
from features.user_state import (
    EMPTY,
    EVENT_MEMORY_S,
    SEEN_LENGTH,
    Profile,
    StateEvent,
    UserState,
    UserStateStore,
    encode,
    user_key,
)
from tests.features.worlds import NOW


def event(number: int, action: Action = Action.LIKE, time_ms: int | None = None) -> StateEvent:
    return StateEvent(f"event{number}", 100 + number, action, NOW + number if time_ms is None else time_ms)


@pytest.fixture
def store(valkey: Valkey) -> UserStateStore:
    return UserStateStore(valkey)


async def test_nothing_is_known_of_an_unknown_user(store: UserStateStore) -> None:
    state = await store.read("nobody")
    assert state.profile == EMPTY.profile
    assert len(state.history_H) == len(state.seen_S) == state.counts_A.sum() == 0


async def test_an_event_that_arrives_twice_counts_once(store: UserStateStore) -> None:
    assert await store.append("ann", [event(1), event(2), event(1)]) == 2
    assert await store.append("ann", [event(2), event(3)]) == 1
    state = await store.read("ann")
    assert state.counts_A[Action.LIKE] == 3
    assert state.history_H["media_id"].tolist() == [101, 102, 103]


async def test_the_same_event_id_of_two_users_is_two_events(store: UserStateStore) -> None:
    assert await store.append("ann", [event(1)]) == 1
    assert await store.append("bob", [event(1)]) == 1


async def test_no_events_change_nothing(store: UserStateStore) -> None:
    assert await store.append("ann", []) == 0


async def test_an_event_id_is_forgotten_after_its_time(store: UserStateStore, valkey: Valkey) -> None:
    await store.append("ann", [event(1)])
    left_s = await valkey.ttl(f"{user_key('ann')}:event:event1")
    assert EVENT_MEMORY_S - 60 < left_s <= EVENT_MEMORY_S


@pytest.mark.parametrize("action", Action)
async def test_only_statements_of_taste_enter_the_history(store: UserStateStore, action: Action) -> None:
    await store.append("ann", [event(1, action)])
    state = await store.read("ann")
    assert len(state.history_H) == (action in HISTORY_ACTIONS)
    assert state.seen_S.tolist() == ([101] if action is Action.IMPRESSION else [])
    assert state.counts_A.tolist() == [int(code == action) for code in range(len(state.counts_A))]


async def test_the_history_keeps_the_latest_actions(store: UserStateStore) -> None:
    await store.append("ann", [event(number) for number in range(HISTORY_LENGTH + 7)])
    state = await store.read("ann")
    assert state.history_H["media_id"].tolist() == list(range(107, 107 + HISTORY_LENGTH))
    assert state.counts_A[Action.LIKE] == HISTORY_LENGTH + 7


async def test_seen_media_keep_the_latest(store: UserStateStore) -> None:
    await store.mark_seen("ann", np.arange(SEEN_LENGTH))
    await store.mark_seen("ann", np.array([-5, 2**62]))
    state = await store.read("ann")
    assert state.seen_S.tolist() == [*range(2, SEEN_LENGTH), -5, 2**62]


async def test_a_context_orders_late_arrivals_by_time_and_ties_by_arrival(store: UserStateStore) -> None:
    times = (5, 3, 5, 4)
    await store.append("ann", [event(number, time_ms=NOW + time) for number, time in enumerate(times)])
    context = (await store.read("ann")).context("ann", NOW + 60, "explore")
    assert context.history_media_id_H.tolist() == [101, 103, 100, 102]


async def test_a_context_leaves_out_what_is_not_before_the_request(store: UserStateStore) -> None:
    await store.append("ann", [event(0), event(1), event(2)])
    context = (await store.read("ann")).context("ann", NOW + 1, "explore")
    assert context.history_media_id_H.tolist() == [100]


@pytest.mark.parametrize("user_id", ["{ann}", "ann}{", "a%7Bn", "änn \n✓", "x" * 1000])
async def test_any_user_id_has_a_state_of_its_own(store: UserStateStore, user_id: str) -> None:
    await store.append(user_id, [event(1)])
    assert (await store.read(user_id)).counts_A[Action.LIKE] == 1
    assert (await store.read("ann")).counts_A[Action.LIKE] == 0


def test_keys_of_different_users_differ_and_have_one_hash_tag() -> None:
    ids = ["a{", "a%7B", "a}", "a", "{a}", "%7Ba%7D"]
    assert len({user_key(user_id) for user_id in ids}) == len(ids)
    assert all(user_key(user_id).count("{") == user_key(user_id).count("}") == 1 for user_id in ids)


async def test_a_bulk_loaded_state_is_read_back_as_it_was(store: UserStateStore, valkey: Valkey) -> None:
    await store.append("ann", [event(1), event(2, Action.IMPRESSION), event(3, Action.DWELL)])
    profile = Profile(registered_at_ms=NOW, n_following=0, n_followers=7, segment="new")
    read = await store.read("ann")
    state = UserState(profile, read.history_H, read.counts_A, read.seen_S)
    await valkey.execute_command("HSET", user_key("bob"), *(part for field in encode(state).items() for part in field))
    again = await store.read("bob")
    assert again.profile == profile
    for column in ("history_H", "counts_A", "seen_S"):
        assert getattr(again, column).tolist() == getattr(state, column).tolist()


def test_an_empty_state_needs_no_fields() -> None:
    assert encode(EMPTY) == {}
