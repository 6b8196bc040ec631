"""What the cascade knows about the users of one batch, as columns. Knows neither where it comes from nor how it travels.

Shapes: B users, A action codes (`N_ACTIONS`), H history entries of all users one after the other.
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
    events were logged, at most `HISTORY_LENGTH` of them. A value at time t comes from events before t only.
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

    def __len__(self) -> int:
        return len(self.user_ids)

    def __post_init__(self) -> None:
        """Raises ValueError naming the column whose length does not fit."""
        users = len(self.user_ids)
        history = int(self.history_offsets[-1]) if len(self.history_offsets) else -1
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
        }
        for name, length in expected.items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"UserContexts.{name} has {len(getattr(self, name))} rows, expected {length}")
        if self.history_offsets[0] != 0 or np.any(np.diff(self.history_offsets) < 0):
            raise ValueError("UserContexts.history_offsets must start at 0 and never decrease")
        if self.action_counts_BA.shape != (users, N_ACTIONS):
            raise ValueError(f"UserContexts.action_counts_BA has shape {self.action_counts_BA.shape}")


def concatenate(parts: Sequence[UserContexts]) -> UserContexts:
    """One batch from several, in order."""
    lengths_B = np.concatenate([np.diff(part.history_offsets) for part in parts])

    def joined(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    return UserContexts(
        user_ids=tuple(user for part in parts for user in part.user_ids),
        surfaces=tuple(surface for part in parts for surface in part.surfaces),
        segments=tuple(segment for part in parts for segment in part.segments),
        history_offsets=np.concatenate([[0], np.cumsum(lengths_B)]).astype(np.int64),
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
            )
        },  # type: ignore[arg-type]
    )
