"""Small events and changes of relations that the tests of feedback share."""

from __future__ import annotations

from typing import Any

from protos.explore.v1.feedback_pb2 import Action, Event, RelationChange, RelationKind
from tests.gateway.feeds import NOW_MS


def event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": "e1",
        "user_id": "42",
        "media_id": 7,
        "author_id": 3,
        "action": Action.ACTION_LIKE,
        "event_time_ms": NOW_MS,
    }
    return Event(**(fields | changes))


def change(**changes: Any) -> RelationChange:
    fields: dict[str, Any] = {"user_id": "42", "account_id": 3, "kind": RelationKind.RELATION_KIND_BLOCKED}
    return RelationChange(**(fields | changes))
