"""The vocabulary of user actions, and the tasks that the models predict from them.

The integer codes are wire and storage format (`protos/explore/v1/feedback.proto` carries the same numbers, user state stores
them as one byte), so a code is never reused or renumbered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Action(IntEnum):
    """What a user did with a media item."""

    IMPRESSION = 1
    CLICK = 2  # an effective view: opened, or played for more than a few seconds
    LONG_VIEW = 3
    LIKE = 4
    SAVE = 5
    SHARE = 6
    COMMENT = 7
    FOLLOW = 8  # followed the author from this item
    DWELL = 9  # value = milliseconds
    HIDE = 10  # "see fewer like this"
    REPORT = 11


N_ACTIONS = max(Action) + 1  # arrays indexed by action code have this length; slot 0 stays empty

# Impressions and dwell times are counted, but they are no statement of taste: they never enter the action history.
HISTORY_ACTIONS = frozenset(Action) - {Action.IMPRESSION, Action.DWELL}

POSITIVE_ACTIONS = frozenset(
    {Action.CLICK, Action.LONG_VIEW, Action.LIKE, Action.SAVE, Action.SHARE, Action.COMMENT, Action.FOLLOW}
)
NEGATIVE_ACTIONS = frozenset({Action.HIDE, Action.REPORT})


@dataclass(frozen=True)
class Task:
    """One probability the rankers predict: P(any of `actions` | impression)."""

    name: str
    actions: frozenset[Action]


TASKS: tuple[Task, ...] = (
    Task("click", frozenset({Action.CLICK})),
    Task("long_view", frozenset({Action.LONG_VIEW})),
    Task("like", frozenset({Action.LIKE})),
    Task("save", frozenset({Action.SAVE})),
    Task("share", frozenset({Action.SHARE})),
    Task("comment", frozenset({Action.COMMENT})),
    Task("follow", frozenset({Action.FOLLOW})),
    Task("negative", NEGATIVE_ACTIONS),
)


def action_name(action: Action) -> str:
    """The name an action has in Parquet files and on the command line: lower case."""
    return action.name.lower()
