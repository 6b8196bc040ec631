"""What the cascade knows about the users of one batch, as columns. Knows neither where it comes from nor how it travels.

Shapes: B users, A action codes (`N_ACTIONS`), W windows of recent counts, H history entries and R relations of all
users one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS
from features.recency import N_WINDOWS

HISTORY_LENGTH = 50  # newest actions, which every stage reads
LONG_HISTORY_LENGTH = 1_000  # actions kept per user; what lies before the newest ones is searched per candidate
UNKNOWN_TIME = -1  # a missing timestamp
UNKNOWN_COUNT = -1  # a missing count in a profile

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class UserContexts:
    """B users at the moment of their requests.

    The history of user b is the rows `history_offsets[b] : history_offsets[b + 1]`, oldest first, ties in the order in which the
    events were logged, at most `LONG_HISTORY_LENGTH` of them. Its relations are the rows `relation_offsets[b] :
    relation_offsets[b + 1]`, by kind, the oldest of each kind first. A value at time t comes from events before t only.
    """

    user_ids: tuple[str, ...]
    request_time_ms_B: Int64
    surfaces: tuple[str, ...]
    history_offsets: Int64  # B + 1
    history_media_id_H: Int64
    history_action_H: NDArray[np.uint8]
    history_time_ms_H: Int64
    action_counts_BA: NDArray[np.uint32]
    recent_counts_BWA: NDArray[np.float32]  # at the moment of the request, see features.recency
    registered_at_ms_B: Int64  # UNKNOWN_TIME if missing
    n_following_B: Int64  # UNKNOWN_COUNT if missing
    n_followers_B: Int64
    segments: tuple[str, ...]  # "" if missing
    account_id_B: Int64  # the account under which the user posts; features.relations.NO_ACCOUNT if none is known
    relation_offsets: Int64  # B + 1
    relation_account_id_R: Int64
    relation_kind_R: NDArray[np.uint8]  # a features.relations.Relation

    def __len__(self) -> int:
        return len(self.user_ids)

    def __post_init__(self) -> None:
        """Raises ValueError naming the column whose length does not fit."""
        users = len(self.user_ids)
        history = int(self.history_offsets[-1]) if len(self.history_offsets) else -1
        relations = int(self.relation_offsets[-1]) if len(self.relation_offsets) else -1
        expected = {
            "request_time_ms_B": users,
            "surfaces": users,
            "history_offsets": users + 1,
            "history_media_id_H": history,
            "history_action_H": history,
            "history_time_ms_H": history,
            "action_counts_BA": users,
            "registered_at_ms_B": users,
            "n_following_B": users,
            "n_followers_B": users,
            "segments": users,
            "account_id_B": users,
            "relation_offsets": users + 1,
            "relation_account_id_R": relations,
            "relation_kind_R": relations,
        }
        for name, length in expected.items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"UserContexts.{name} has {len(getattr(self, name))} rows, expected {length}")
        for name in ("history_offsets", "relation_offsets"):
            offsets = getattr(self, name)
            if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
                raise ValueError(f"UserContexts.{name} must start at 0 and never decrease")
        for name, shape in (
            ("action_counts_BA", (users, N_ACTIONS)),
            ("recent_counts_BWA", (users, N_WINDOWS, N_ACTIONS)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"UserContexts.{name} has shape {getattr(self, name).shape}, expected {shape}")


def newest(contexts: UserContexts, length: int) -> UserContexts:
    """The same users, who remember no more than their newest `length` actions."""
    offsets = contexts.history_offsets
    count_B = offsets[1:] - offsets[:-1]
    if count_B.max(initial=0) <= length:
        return contexts
    kept_B = np.minimum(count_B, length)
    kept_offsets = np.zeros_like(offsets)
    np.cumsum(kept_B, out=kept_offsets[1:])
    # A user's kept entries end where the history ends.
    kept_H = np.arange(int(kept_offsets[-1])) + np.repeat(offsets[1:] - kept_offsets[1:], kept_B)
    return replace(
        contexts,
        history_offsets=kept_offsets,
        history_media_id_H=contexts.history_media_id_H[kept_H],
        history_action_H=contexts.history_action_H[kept_H],
        history_time_ms_H=contexts.history_time_ms_H[kept_H],
    )


def of_users(contexts: UserContexts, user_X: Int64) -> UserContexts:
    """Some users of a batch, in the order in which they are named."""

    def rows_and_offsets(offsets: Int64) -> tuple[Int64, Int64]:
        rows = [np.arange(offsets[b], offsets[b + 1]) for b in user_X.tolist()]
        ends = np.cumsum([len(each) for each in rows])
        return np.concatenate([np.empty(0, np.int64), *rows]), np.concatenate([[0], ends]).astype(np.int64)

    row_H, history_offsets = rows_and_offsets(contexts.history_offsets)
    row_R, relation_offsets = rows_and_offsets(contexts.relation_offsets)
    return UserContexts(
        user_ids=tuple(contexts.user_ids[b] for b in user_X.tolist()),
        request_time_ms_B=contexts.request_time_ms_B[user_X],
        surfaces=tuple(contexts.surfaces[b] for b in user_X.tolist()),
        history_offsets=history_offsets,
        history_media_id_H=contexts.history_media_id_H[row_H],
        history_action_H=contexts.history_action_H[row_H],
        history_time_ms_H=contexts.history_time_ms_H[row_H],
        action_counts_BA=contexts.action_counts_BA[user_X],
        recent_counts_BWA=contexts.recent_counts_BWA[user_X],
        registered_at_ms_B=contexts.registered_at_ms_B[user_X],
        n_following_B=contexts.n_following_B[user_X],
        n_followers_B=contexts.n_followers_B[user_X],
        segments=tuple(contexts.segments[b] for b in user_X.tolist()),
        account_id_B=contexts.account_id_B[user_X],
        relation_offsets=relation_offsets,
        relation_account_id_R=contexts.relation_account_id_R[row_R],
        relation_kind_R=contexts.relation_kind_R[row_R],
    )


def concatenate(parts: Sequence[UserContexts]) -> UserContexts:
    """One batch from several, in order."""

    def joined(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    def offsets(name: str) -> Int64:
        lengths_B = np.concatenate([np.diff(getattr(part, name)) for part in parts])
        return np.concatenate([[0], np.cumsum(lengths_B)]).astype(np.int64)

    return UserContexts(
        user_ids=tuple(user for part in parts for user in part.user_ids),
        surfaces=tuple(surface for part in parts for surface in part.surfaces),
        segments=tuple(segment for part in parts for segment in part.segments),
        history_offsets=offsets("history_offsets"),
        relation_offsets=offsets("relation_offsets"),
        **{
            name: joined(name)
            for name in (
                "request_time_ms_B",
                "history_media_id_H",
                "history_action_H",
                "history_time_ms_H",
                "action_counts_BA",
                "recent_counts_BWA",
                "registered_at_ms_B",
                "n_following_B",
                "n_followers_B",
                "account_id_B",
                "relation_account_id_R",
                "relation_kind_R",
            )
        },  # type: ignore[arg-type]
    )
