"""UserContext messages: round trip, what is refused, and by which name."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import LONG_HISTORY_LENGTH, UserContexts
from features.recency import N_WINDOWS
from features.relations import Relation, no_accounts, no_relations, relation_columns
from protos.explore.v1.user_context_pb2 import UserContext
from serving.errors import InvalidArgument
from serving.wire import SeenMedia, decode_contexts, decode_seen, encode_contexts
from tests.serving.batches import user, user_contexts


def nothing_seen(contexts: UserContexts) -> SeenMedia:
    return SeenMedia(np.zeros(len(contexts) + 1, np.int64), np.empty(0, np.int64))


def assert_same(one: UserContexts, other: UserContexts) -> None:
    for field in fields(UserContexts):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def i8(*values: int) -> bytes:
    return np.array(values, "<i8").tobytes()


@given(st.integers(1, 3).flatmap(user_contexts))
def test_round_trip_changes_nothing(contexts: UserContexts) -> None:
    assert_same(decode_contexts(encode_contexts(contexts, nothing_seen(contexts))), contexts)


@given(st.integers(1, 3).flatmap(user_contexts))
def test_only_retrieval_gets_the_relations(contexts: UserContexts) -> None:
    alone = replace(contexts, **no_relations(len(contexts)))
    assert_same(decode_contexts(encode_contexts(contexts)), alone)


def test_relations_of_users_follow_each_other() -> None:
    users: list[dict[Relation, NDArray[np.int64]]] = [
        no_accounts() | {Relation.BLOCKED: np.array([9]), Relation.FOLLOWED: np.array([7, 3])},
        no_accounts(),
        no_accounts() | {Relation.MUTED: np.array([7])},
    ]
    contexts = replace(decode_contexts([user(), user(), user()]), **relation_columns(users))
    decoded = decode_contexts(encode_contexts(contexts, nothing_seen(contexts)))
    assert decoded.relation_offsets.tolist() == [0, 3, 3, 4]
    assert decoded.relation_account_id_R.tolist() == [7, 3, 9, 7]
    assert decoded.relation_kind_R.tolist() == [Relation.FOLLOWED] * 2 + [Relation.BLOCKED, Relation.MUTED]


def test_columns_of_users_follow_each_other() -> None:
    ann = user("ann", [(7, Action.LIKE, 100), (8, Action.HIDE, 200)])
    contexts = decode_contexts([ann, user("bob", []), user("cid", [(9, Action.CLICK, 50)])])
    assert contexts.history_offsets.tolist() == [0, 2, 2, 3]
    assert contexts.history_media_id_H.tolist() == [7, 8, 9]
    assert contexts.history_action_H.tolist() == [Action.LIKE, Action.HIDE, Action.CLICK]
    assert contexts.history_time_ms_H.tolist() == [100, 200, 50]


def test_what_is_not_set_is_unknown_and_not_zero() -> None:
    contexts = decode_contexts([user(), UserContext(user_id="new", request_time_ms=1, n_followers=0)])
    assert contexts.n_following_B.tolist() == [3, -1]
    assert contexts.n_followers_B.tolist() == [-1, 0]
    assert contexts.registered_at_ms_B.tolist() == [-1, -1]


def test_counts_that_are_not_sent_are_zero() -> None:
    assert decode_contexts([user()]).action_counts_BA.tolist() == [[0, 5, 2] + [0] * 9]


def test_long_history_keeps_its_newest_rows() -> None:
    history = [(i + 1, Action.CLICK, i) for i in range(LONG_HISTORY_LENGTH + 20)]
    contexts = decode_contexts([user("ann", history), user("bob")])
    assert contexts.history_media_id_H.tolist() == [*range(21, LONG_HISTORY_LENGTH + 21), 7]
    assert contexts.history_offsets.tolist() == [0, LONG_HISTORY_LENGTH, LONG_HISTORY_LENGTH + 1]


def test_decoded_columns_are_read_only() -> None:
    contexts = decode_contexts([user()])
    assert not contexts.history_media_id_H.flags.writeable


def test_seen_media_of_each_user() -> None:
    seen = SeenMedia(np.array([0, 2, 2]), np.array([5, 6]))
    contexts = decode_contexts([user("ann"), user("bob")])
    decoded = decode_seen(encode_contexts(contexts, seen))
    assert decoded.offsets.tolist() == [0, 2, 2]
    assert decoded.media_id_S.tolist() == [5, 6]


def test_no_user_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^users is empty"):
        decode_contexts([])


def test_seen_media_of_a_wrong_width_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^users\[0\]\.seen_media_id has 7 bytes"):
        decode_seen([UserContext(seen_media_id=b"1234567")])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("user_id", "", "has 0 characters"),
        ("user_id", "x" * 257, "has 257 characters"),
        ("request_time_ms", 0, "is 0, must be > 0"),
        ("request_time_ms", -5, "is -5, must be > 0"),
        ("registered_at_ms", -1, "is -1, must not be negative"),
        ("n_following", -1, "is -1, must not be negative"),
        ("n_followers", -(2**63), "is -9223372036854775808, must not be negative"),
        ("history_media_id", b"123", "has 3 bytes"),
        ("history_media_id", i8(0), "holds 0, must be > 0"),
        ("history_action", b"", "has 0 bytes, expected 1 rows"),
        ("history_action", bytes([Action.IMPRESSION]), "holds 1, must be an action of the history"),
        ("history_action", bytes([Action.DWELL]), "holds 9, must be an action of the history"),
        ("history_action", bytes([0]), "holds 0, must be an action of the history"),
        ("history_action", bytes([255]), "holds 255, must be an action of the history"),
        ("history_time_ms", i8(1, 2), "has 16 bytes, expected 1 rows"),
        ("history_time_ms", i8(-1), "holds -1, must not be negative"),
        ("account_id", -1, "is -1, must not be negative; 0 if there is none"),
        ("relation_account_id", b"123", "has 3 bytes"),
        ("relation_account_id", i8(0), "holds 0, must be > 0"),
        ("relation_account_id", i8(-7), "holds -7, must be > 0"),
        ("relation_kind", b"", "has 0 bytes, expected 1 rows"),
        ("relation_kind", bytes([1, 2]), "has 2 bytes, expected 1 rows"),
        ("relation_kind", bytes([0]), "holds 0, must be one of 1 = FOLLOWED, 2 = MUTED, 3 = BLOCKED"),
        ("relation_kind", bytes([4]), "holds 4, must be one of"),
        ("relation_kind", bytes([255]), "holds 255, must be one of"),
    ],
)
def test_wrong_field_is_named(field: str, value: object, reason: str) -> None:
    wrong = user("bob")
    wrong.relation_account_id, wrong.relation_kind = i8(7), bytes([Relation.MUTED])
    setattr(wrong, field, value)
    with pytest.raises(InvalidArgument, match=rf"^users\[1\]\.{field} {reason}"):
        decode_contexts([user("ann"), wrong])


def test_history_that_is_not_sorted_is_refused() -> None:
    wrong = user("bob", [(1, Action.LIKE, 5), (2, Action.LIKE, 4)])
    with pytest.raises(InvalidArgument, match=r"^users\[1\]\.history_time_ms holds 4, must not lie before"):
        decode_contexts([user("ann"), wrong])


_ROWS = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 12), st.integers(-1, 4)), max_size=4)


@given(st.lists(_ROWS, min_size=1, max_size=3))
def test_a_history_is_refused_if_one_of_its_rows_is_wrong(histories: list[list[tuple[int, int, int]]]) -> None:
    """The rule of every row, one row after the other, against the checks of whole columns."""
    users = [
        UserContext(
            user_id="u",
            request_time_ms=1,
            history_media_id=i8(*(media for media, _, _ in rows)),
            history_action=bytes(action for _, action, _ in rows),
            history_time_ms=i8(*(time for _, _, time in rows)),
        )
        for rows in histories
    ]
    good = all(
        media > 0 and action in set(HISTORY_ACTIONS) and time >= 0 and (not h or time >= rows[h - 1][2])
        for rows in histories
        for h, (media, action, time) in enumerate(rows)
    )
    if good:
        assert len(decode_contexts(users).history_media_id_H) == sum(map(len, histories))
    else:
        with pytest.raises(InvalidArgument, match=r"^users\[\d\]\.history"):
            decode_contexts(users)


def test_actions_at_the_same_time_are_in_order() -> None:
    assert len(decode_contexts([user("ann", [(1, Action.CLICK, 5), (1, Action.LIKE, 5)])]).history_media_id_H) == 2


def test_counts_of_unknown_actions_are_refused() -> None:
    wrong = user()
    wrong.action_counts.extend([1] * 20)
    with pytest.raises(InvalidArgument, match=r"^users\[0\]\.action_counts has 23 entries, at most 12"):
        decode_contexts([wrong])


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_recent_counts_that_no_sum_can_be_are_refused(value: float) -> None:
    bad = user()
    bad.recent_counts = np.full(N_WINDOWS * N_ACTIONS, value, "<f4").tobytes()
    with pytest.raises(InvalidArgument, match=r"users\[0\]\.recent_counts"):
        decode_contexts([bad])


def test_recent_counts_of_another_size_are_refused_and_none_at_all_are_zeros() -> None:
    assert not decode_contexts([user()]).recent_counts_BWA.any()
    bad = user()
    bad.recent_counts = b"\0" * 4
    with pytest.raises(InvalidArgument, match=r"users\[0\]\.recent_counts"):
        decode_contexts([bad])
