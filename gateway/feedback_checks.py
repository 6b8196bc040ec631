"""What FeedbackService takes: messages of the wire, checked, as our nouns. Touches no store and no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable

from features.actions import Action
from features.event_archive import FeedbackEvent
from features.relations import Relation
from features.user_state import RelationChange
from protos.explore.v1 import feedback_pb2
from protos.explore.v1.feedback_pb2 import Event
from serving.errors import InvalidArgument
from serving.wire.contexts import MAX_USER_ID

MAX_EVENTS = 1000
MAX_EVENT_ID = 128
MAX_REQUEST_ID = 128
MAX_SURFACE = 64
MAX_CHANGES = 1000
_ACTIONS = frozenset(int(action) for action in Action)
_RELATIONS = frozenset(int(relation) for relation in Relation)
MAX_CLOCK_SKEW_MS = 5 * 60_000  # how far a device's clock may be ahead of ours


def check_events(events: Iterable[Event], now_ms: int, shift_ms: int) -> dict[str, list[FeedbackEvent]]:
    """The events by user, in order of time, moved by `shift_ms`.

    What a device's fast clock dates ahead counts as of now: no page knows of what lies in its future.

    Raises InvalidArgument with the path of the first field that is wrong.
    """
    rows = list(events)
    if not 1 <= len(rows) <= MAX_EVENTS:
        raise InvalidArgument("events", f"must hold 1 to {MAX_EVENTS} events, got {len(rows)}")
    by_user: dict[str, list[FeedbackEvent]] = {}
    for place, event in enumerate(rows):
        _check(event, f"events[{place}]", now_ms)
        # A time before the epoch would make every stage refuse this user from now on.
        early = event.event_time_ms + shift_ms <= 0
        _require(not early, f"events[{place}].event_time_ms", "lies before 1970 on the clock that the cascade runs on")
        by_user.setdefault(event.user_id, []).append(_parsed(event, min(event.event_time_ms, now_ms - 1) + shift_ms))
    for mine in by_user.values():
        mine.sort(key=lambda event: (event.time_ms, event.device_time_ms))
    return by_user


def check_changes(changes: Iterable[feedback_pb2.RelationChange]) -> dict[str, list[RelationChange]]:
    """The changes by user, in their order. Raises InvalidArgument with the path of the first field that is wrong."""
    rows = list(changes)
    if not 1 <= len(rows) <= MAX_CHANGES:
        raise InvalidArgument("changes", f"must hold 1 to {MAX_CHANGES} changes, got {len(rows)}")
    known = ", ".join(f"{int(relation)} = {relation.name}" for relation in Relation)
    by_user: dict[str, list[RelationChange]] = {}
    for place, change in enumerate(rows):
        path = f"changes[{place}]"
        check_user(change.user_id, f"{path}.user_id")
        _require(change.account_id > 0, f"{path}.account_id", "must be > 0")
        _require(int(change.kind) in _RELATIONS, f"{path}.kind", f"must be one of {known}; got {change.kind}")
        by_user.setdefault(change.user_id, []).append(
            RelationChange(change.account_id, Relation(change.kind), change.removed)
        )
    return by_user


def check_user(user_id: str, path: str) -> str:
    """The id. Raises InvalidArgument."""
    _require(1 <= len(user_id) <= MAX_USER_ID, path, f"must have 1 to {MAX_USER_ID} characters")
    return user_id


def _parsed(event: Event, time_ms: int) -> FeedbackEvent:
    return FeedbackEvent(
        event_id=event.event_id,
        media_id=event.media_id,
        author_id=event.author_id,
        action=Action(event.action),
        time_ms=time_ms,
        user_id=event.user_id,
        device_time_ms=event.event_time_ms,
        value=event.value if event.HasField("value") else None,
        request_id=event.request_id,
        position=event.position if event.HasField("position") else None,
        surface=event.surface,
    )


def _check(event: Event, path: str, now_ms: int) -> None:
    _require(1 <= len(event.event_id) <= MAX_EVENT_ID, f"{path}.event_id", f"must have 1 to {MAX_EVENT_ID} characters")
    check_user(event.user_id, f"{path}.user_id")
    _require(event.media_id > 0, f"{path}.media_id", "must be > 0")
    _require(event.author_id > 0, f"{path}.author_id", "must be > 0")
    known = ", ".join(f"{int(action)} = {action.name}" for action in Action)
    _require(int(event.action) in _ACTIONS, f"{path}.action", f"must be one of {known}; got {event.action}")
    _require(event.event_time_ms > 0, f"{path}.event_time_ms", "must be > 0, milliseconds since the epoch")
    ahead = event.event_time_ms - now_ms
    _require(ahead <= MAX_CLOCK_SKEW_MS, f"{path}.event_time_ms", f"lies {ahead} ms in the future")
    if int(event.action) == Action.DWELL:
        ok = event.HasField("value") and math.isfinite(event.value) and event.value >= 0
        _require(ok, f"{path}.value", "must be the dwell time in milliseconds, finite and >= 0")
    else:
        _require(not event.HasField("value"), f"{path}.value", "is for DWELL only; leave it unset")
    _require(not event.HasField("position") or event.position >= 0, f"{path}.position", "must be >= 0")
    for name, most in (("request_id", MAX_REQUEST_ID), ("surface", MAX_SURFACE)):
        _require(len(getattr(event, name)) <= most, f"{path}.{name}", f"must have at most {most} characters")


def _require(holds: bool, field: str, reason: str) -> None:
    if not holds:
        raise InvalidArgument(field, reason)
