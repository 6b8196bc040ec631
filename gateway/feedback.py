"""FeedbackService: what users did, and how they stand to accounts. A call is checked as a whole and changes user state at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import grpc
import valkey.exceptions

from features.actions import Action
from features.relations import Relation
from features.user_state import RelationChange, StateEvent, UserStateStore
from gateway.clock import Clock
from protos.explore.v1 import feedback_pb2
from protos.explore.v1.feedback_pb2 import (
    Event,
    LogEventsRequest,
    LogEventsResponse,
    SetRelationsRequest,
    SetRelationsResponse,
)
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceServicer
from serving.errors import InvalidArgument, Unavailable
from serving.wire.contexts import MAX_USER_ID

MAX_EVENTS = 1000
MAX_EVENT_ID = 128
MAX_CHANGES = 1000
_ACTIONS = frozenset(int(action) for action in Action)
_RELATIONS = frozenset(int(relation) for relation in Relation)
MAX_CLOCK_SKEW_MS = 5 * 60_000  # how far a device's clock may be ahead of ours

T = TypeVar("T")


class FeedbackServicer(FeedbackServiceServicer):
    """Writes events and relations to the state store; what is answered for has been stored.

    Devices say when something happened by the time of day. Where the cascade runs on another clock (docs/decisions/0004), their
    times are moved onto it, since user state is read by the cascade's clock.
    """

    def __init__(self, store: UserStateStore, clock: Clock, time_of_day: Clock) -> None:
        self._store, self._clock, self._time_of_day = store, clock, time_of_day

    async def LogEvents(
        self, request: LogEventsRequest, context: grpc.aio.ServicerContext[LogEventsRequest, LogEventsResponse]
    ) -> LogEventsResponse:
        """Stores all events or, if one is wrong, none. Safe to send again: an event id counts once."""
        now_ms = self._time_of_day()
        by_user = check_events(request.events, now_ms, self._clock() - now_ms)
        stored = await _all((self._store.append(user, events) for user, events in by_user.items()), "events")
        return LogEventsResponse(accepted=sum(stored), duplicates=len(request.events) - sum(stored))

    async def SetRelations(
        self, request: SetRelationsRequest, context: grpc.aio.ServicerContext[SetRelationsRequest, SetRelationsResponse]
    ) -> SetRelationsResponse:
        """Stores all changes or, if one is wrong, none. Safe to send again: the last word on an account counts."""
        by_user = check_changes(request.changes)
        await _all((self._store.set_relations(user, changes) for user, changes in by_user.items()), "changes")
        return SetRelationsResponse()


async def _all(writes: Iterable[Awaitable[T]], what: str) -> list[T]:
    try:
        return await asyncio.gather(*writes)
    except (valkey.exceptions.ValkeyError, OSError) as error:
        # What some users sent may be stored already: sending all of it again is right, and counts nothing twice.
        raise Unavailable("user_state", f"{type(error).__name__}; send the same {what} again") from error


def check_events(events: Iterable[Event], now_ms: int, shift_ms: int) -> dict[str, list[StateEvent]]:
    """The events by user, in order of time, moved by `shift_ms`.

    Raises InvalidArgument with the path of the first field that is wrong.
    """
    rows = list(events)
    if not 1 <= len(rows) <= MAX_EVENTS:
        raise InvalidArgument("events", f"must hold 1 to {MAX_EVENTS} events, got {len(rows)}")
    by_user: dict[str, list[StateEvent]] = {}
    for place, event in enumerate(rows):
        _check(event, f"events[{place}]", now_ms)
        # A time before the epoch would make every stage refuse this user from now on.
        early = event.event_time_ms + shift_ms <= 0
        _require(not early, f"events[{place}].event_time_ms", "lies before 1970 on the clock that the cascade runs on")
        by_user.setdefault(event.user_id, []).append(
            StateEvent(
                event.event_id, event.media_id, event.author_id, Action(event.action), event.event_time_ms + shift_ms
            )
        )
    for mine in by_user.values():
        mine.sort(key=lambda event: event.time_ms)
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
        _require(1 <= len(change.user_id) <= MAX_USER_ID, f"{path}.user_id", f"must have 1 to {MAX_USER_ID} characters")
        _require(change.account_id > 0, f"{path}.account_id", "must be > 0")
        _require(int(change.kind) in _RELATIONS, f"{path}.kind", f"must be one of {known}; got {change.kind}")
        by_user.setdefault(change.user_id, []).append(
            RelationChange(change.account_id, Relation(change.kind), change.removed)
        )
    return by_user


def _check(event: Event, path: str, now_ms: int) -> None:
    _require(1 <= len(event.event_id) <= MAX_EVENT_ID, f"{path}.event_id", f"must have 1 to {MAX_EVENT_ID} characters")
    _require(1 <= len(event.user_id) <= MAX_USER_ID, f"{path}.user_id", f"must have 1 to {MAX_USER_ID} characters")
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


def _require(holds: bool, field: str, reason: str) -> None:
    if not holds:
        raise InvalidArgument(field, reason)
