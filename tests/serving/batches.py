"""Valid users and candidates: small ones by hand, any ones by hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import HISTORY_LENGTH, UserContexts
from features.recency import N_WINDOWS
from features.relations import Relation, relation_columns
from protos.explore.v1.ranking_pb2 import RankRequest
from protos.explore.v1.user_context_pb2 import UserContext
from serving.columns import CandidateColumns, Ranked
from serving.wire import RankAsk

ids = st.integers(1, 2**63 - 1)
times = st.integers(0, 2**63 - 1)
counts = st.floats(0, width=32, allow_infinity=False, allow_nan=False)
scores = st.floats(width=32, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0])


def user(name: str = "ann", history: Sequence[tuple[int, Action, int]] = ((7, Action.LIKE, 100),)) -> UserContext:
    """A user whose history is (media id, action, milliseconds)."""
    return UserContext(
        user_id=name,
        request_time_ms=1_000,
        surface="explore",
        history_media_id=np.array([row[0] for row in history], "<i8").tobytes(),
        history_action=bytes(row[1] for row in history),
        history_time_ms=np.array([row[2] for row in history], "<i8").tobytes(),
        action_counts=[0, 5, 2],
        n_following=3,
    )


def candidates(scores_of_users: Sequence[Sequence[float]]) -> CandidateColumns:
    """Media 1, 2, 3 ... with the scores given per user."""
    lengths = [len(scores) for scores in scores_of_users]
    rows = np.arange(1, sum(lengths) + 1, dtype=np.int64)
    return CandidateColumns(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        media_id_N=rows,
        author_id_N=rows + 100,
        seed_account_id_N=np.where(rows % 2 == 0, 0, rows + 200),
        source_index_N=(rows % 2).astype(np.uint8),
        score_N=np.array([score for scores in scores_of_users for score in scores], np.float32),
        sources=("liked", "trending"),
        source_paths=("liked > author > posted_media", "trending"),
    )


def rank_ask(scores_of_users: Sequence[Sequence[float]], keep: int = 100) -> RankAsk:
    """One request of as many users as there are lists of scores."""
    users = len(scores_of_users)
    return RankAsk(
        users=[user(f"user-{b}") for b in range(users)],
        candidates=candidates(scores_of_users),
        weights=[{"click": 1.0}] * users,
        keep=[keep] * users,
    )


def rank_request(scores_of_users: Sequence[Sequence[float]], keep: int = 100) -> RankRequest:
    """The same as a message."""
    return rank_ask(scores_of_users, keep).message()


def same_answer(mine: Ranked, theirs: Ranked) -> None:
    """All but how long it took."""
    for field in fields(Ranked):
        if not field.name.endswith("_us"):
            np.testing.assert_array_equal(getattr(mine, field.name), getattr(theirs, field.name), field.name)


@st.composite
def candidate_columns(draw: st.DrawFn, users: int) -> CandidateColumns:
    """Any valid candidates of `users` users."""
    lengths = draw(st.lists(st.integers(0, 4), min_size=users, max_size=users))
    rows = sum(lengths)

    def drawn(values: st.SearchStrategy[int] | st.SearchStrategy[float]) -> list[int | float]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    return CandidateColumns(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        media_id_N=np.array(drawn(ids), np.int64),
        author_id_N=np.array(drawn(ids), np.int64),
        seed_account_id_N=np.array(drawn(ids | st.just(0)), np.int64),
        source_index_N=np.array(drawn(st.integers(0, 255)), np.uint8),
        score_N=np.array(drawn(scores), np.float32),
        sources=tuple(f"source-{i}" for i in range(256)),
        source_paths=draw(st.just(()) | st.just(tuple(f"path-{i}" for i in range(256)))),
    )


@st.composite
def user_contexts(draw: st.DrawFn, users: int) -> UserContexts:
    """Any valid contexts of `users` users."""
    lengths = draw(st.lists(st.integers(0, 3) | st.just(HISTORY_LENGTH), min_size=users, max_size=users))
    rows = sum(lengths)
    histories = [sorted(draw(st.lists(times, min_size=n, max_size=n))) for n in lengths]
    actions = st.sampled_from(sorted(HISTORY_ACTIONS))
    texts = st.lists(st.text(max_size=3), min_size=users, max_size=users)

    related = st.lists(ids, max_size=3).map(lambda accounts: np.array(accounts, np.int64))
    relations = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(Relation, related)), min_size=users, max_size=users))

    def column(values: st.SearchStrategy[int], n: int) -> list[int]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return UserContexts(
        user_ids=tuple(f"user-{name}" for name in draw(texts)),
        request_time_ms_B=np.array(column(ids, users), np.int64),
        surfaces=tuple(draw(texts)),
        history_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        history_media_id_H=np.array(column(ids, rows), np.int64),
        history_action_H=np.array(column(actions, rows), np.uint8),
        history_time_ms_H=np.array([time for history in histories for time in history], np.int64),
        action_counts_BA=draw(arrays(np.uint32, (users, N_ACTIONS), fill=st.just(0))),
        recent_counts_BWA=draw(arrays(np.float32, (users, N_WINDOWS, N_ACTIONS), elements=counts, fill=st.just(0))),
        registered_at_ms_B=np.array(column(times | st.just(-1), users), np.int64),
        n_following_B=np.array(column(times | st.just(-1), users), np.int64),
        n_followers_B=np.array(column(times | st.just(-1), users), np.int64),
        segments=tuple(draw(texts)),
        account_id_B=np.array(column(ids | st.just(0), users), np.int64),
        **relation_columns(relations),
    )
