"""What the cascade knows about the users of one batch, as columns. Knows neither where it comes from nor how it travels.

Shapes: B users, A action codes (`N_ACTIONS`), H history entries and R relations of all users one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS

HISTORY_LENGTH = 50  # last actions kept per user; the online state and the training contexts both cut here
UNKNOWN_TIME = -1  # a missing timestamp
UNKNOWN_COUNT = -1  # a missing count in a profile

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class UserContexts:
    """B users at the moment of their requests.

    The history of user b is the rows `history_offsets[b] : history_offsets[b + 1]`, oldest first, ties in the order in which the
    events were logged, at most `HISTORY_LENGTH` of them. Its relations are the rows `relation_offsets[b] :
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
            if offsets[0] != 0 or np.any(np.diff(offsets) < 0):
                raise ValueError(f"UserContexts.{name} must start at 0 and never decrease")
        if self.action_counts_BA.shape != (users, N_ACTIONS):
            raise ValueError(f"UserContexts.action_counts_BA has shape {self.action_counts_BA.shape}")


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
                "registered_at_ms_B",
                "n_following_B",
                "n_followers_B",
                "account_id_B",
                "relation_account_id_R",
                "relation_kind_R",
            )
        },  # type: ignore[arg-type]
    )
