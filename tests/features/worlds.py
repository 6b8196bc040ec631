"""Small hand-made item tables and users for tests, and hypothesis strategies that make many of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import UserContexts
from features.item_table import UNKNOWN_TOPIC, ItemTable
from features.recency import N_WINDOWS
from features.relations import NO_ACCOUNT, no_relations

NOW = 1_760_000_000_000
DAY = 86_400_000
KNOWN_MEDIA = (10, 20, 30, 40, 50, 60)
UNKNOWN_MEDIA = (5, 99)


def item_table(seed: int = 0) -> ItemTable:
    """Six media of three accounts; the last media item has no topic, no duration, no score and no vector."""
    random = np.random.default_rng(seed)
    counts_MA = random.integers(0, 50, (6, N_ACTIONS)).astype(np.float32)
    return ItemTable(
        as_of_ms=NOW - DAY,
        topics=("art", "cars"),
        policy_flags=(),
        surfaces=("explore", "search"),
        media_id_M=np.array(KNOWN_MEDIA, dtype=np.int64),
        author_row_M=np.array([0, 0, 1, 1, 2, 2], dtype=np.int32),
        topic_M=np.array([0, 0, 1, 1, 0, UNKNOWN_TOPIC], dtype=np.int32),
        created_at_ms_M=NOW - np.arange(6, dtype=np.int64) * DAY,
        duration_ms_M=np.array([1000, 2500, 0, 60_000, 7, np.nan], dtype=np.float32),
        non_recommendable_M=np.array([0, 0.1, 0.2, 0.3, 1, np.nan], dtype=np.float32),
        policy_flags_M=np.zeros(6, dtype=np.uint32),
        counts_MA=counts_MA,
        recent_counts_MA=(counts_MA / 7).astype(np.float32),
        media_vector_MD=_unit(random.normal(size=(6, 4)), zero=5),
        base_rate_A=(random.random(N_ACTIONS) * 0.2).astype(np.float32),
        account_id_U=np.array([1, 2, 3], dtype=np.int64),
        account_counts_UA=random.integers(0, 500, (3, N_ACTIONS)).astype(np.float32),
        account_recent_counts_UA=random.random((3, N_ACTIONS), dtype=np.float32) * 50,
        account_n_media_U=np.array([2, 2, 2], dtype=np.float32),
        account_vector_UE=_unit(random.normal(size=(3, 5)), zero=2),
    )


def _unit(values: np.ndarray, zero: int) -> np.ndarray:
    unit = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    unit[zero] = 0
    return unit


@dataclass(frozen=True)
class User:
    """One user at one moment. `history` holds (media id, action, age in ms), oldest first."""

    history: list[tuple[int, Action, int]] = field(default_factory=list)
    counts: tuple[int, ...] = (0,) * N_ACTIONS
    recent: tuple[float, ...] = (0.0,) * (N_WINDOWS * N_ACTIONS)  # the last hour, then the last day
    time_ms: int = NOW
    registered_at_ms: int = -1
    n_following: int = -1
    n_followers: int = -1
    surface: str = "explore"


def contexts_of(users: list[User]) -> UserContexts:
    """The users as one batch."""
    entries = [(media, action, user.time_ms - age) for user in users for media, action, age in user.history]
    columns = np.array(entries, dtype=np.int64).reshape(-1, 3)
    return UserContexts(
        user_ids=tuple(f"user{number}" for number in range(len(users))),
        request_time_ms_B=np.array([user.time_ms for user in users], dtype=np.int64),
        surfaces=tuple(user.surface for user in users),
        history_offsets=np.cumsum([0, *(len(user.history) for user in users)], dtype=np.int64),
        history_media_id_H=columns[:, 0],
        history_action_H=columns[:, 1].astype(np.uint8),
        history_time_ms_H=columns[:, 2],
        action_counts_BA=np.array([user.counts for user in users], dtype=np.uint32).reshape(-1, N_ACTIONS),
        recent_counts_BWA=np.array([user.recent for user in users], np.float32).reshape(-1, N_WINDOWS, N_ACTIONS),
        registered_at_ms_B=np.array([user.registered_at_ms for user in users], dtype=np.int64),
        n_following_B=np.array([user.n_following for user in users], dtype=np.int64),
        n_followers_B=np.array([user.n_followers for user in users], dtype=np.int64),
        segments=("",) * len(users),
        account_id_B=np.full(len(users), NO_ACCOUNT, dtype=np.int64),
        **no_relations(len(users)),
    )


# Up to a year: float32 weights that halve every three days keep their precision that long.
_AGES = st.one_of(st.integers(1, DAY), st.integers(1, 365 * DAY))
_ENTRIES = st.tuples(st.sampled_from(KNOWN_MEDIA + UNKNOWN_MEDIA), st.sampled_from(sorted(HISTORY_ACTIONS)), _AGES)

USERS = st.builds(
    User,
    history=st.lists(_ENTRIES, max_size=14).map(lambda history: sorted(history, key=lambda entry: -entry[2])),
    counts=st.tuples(st.just(0), *[st.integers(0, 1000)] * (N_ACTIONS - 1)),
    recent=st.tuples(*[st.floats(0, 100, width=32)] * (N_WINDOWS * N_ACTIONS)),
    time_ms=st.integers(NOW, NOW + 30 * DAY),
    registered_at_ms=st.sampled_from([-1, 0, NOW - DAY, NOW + 60 * DAY]),
    n_following=st.integers(-1, 1000),
    n_followers=st.integers(-1, 1000),
    surface=st.sampled_from(["explore", "search", "elsewhere", ""]),
)
