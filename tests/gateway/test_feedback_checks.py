"""What FeedbackService takes, and what it refuses by which name."""

from __future__ import annotations

from typing import Any

import pytest

from features.actions import Action as FeatureAction
from features.event_archive import FeedbackEvent
from features.relations import Relation
from gateway.feedback_checks import check_changes, check_events
from protos.explore.v1.feedback_pb2 import Action, RelationKind
from serving.errors import InvalidArgument
from tests.gateway.feedbacks import change, event
from tests.gateway.feeds import NOW_MS

DWELL = FeatureAction.DWELL

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"event_id": ""}, "event_id"),
    ({"event_id": "x" * 129}, "event_id"),
    ({"user_id": ""}, "user_id"),
    ({"user_id": "x" * 257}, "user_id"),
    ({"media_id": 0}, "media_id"),
    ({"media_id": -5}, "media_id"),
    ({"author_id": 0}, "author_id"),
    ({"action": 0}, "action"),
    ({"action": 99}, "action"),
    ({"event_time_ms": 0}, "event_time_ms"),
    ({"event_time_ms": NOW_MS + 3_600_000}, "event_time_ms"),
    ({"value": 3.0}, "value"),
    ({"action": Action.ACTION_DWELL}, "value"),
    ({"action": Action.ACTION_DWELL, "value": float("nan")}, "value"),
    ({"action": Action.ACTION_DWELL, "value": -1.0}, "value"),
    ({"position": -1}, "position"),
    ({"request_id": "x" * 129}, "request_id"),
    ({"surface": "x" * 65}, "surface"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=str)
def test_a_wrong_field_is_named_with_its_event(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"events\[1\]\.{field}"):
        check_events([event(), event(**changes)], NOW_MS, 0)


@pytest.mark.parametrize("count", [0, 1001])
def test_no_events_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(InvalidArgument, match="1 to 1000 events"):
        check_events([event()] * count, NOW_MS, 0)


@pytest.mark.parametrize("event_time_ms", [1, 400 * 86_400_000])
def test_a_time_that_lies_before_the_epoch_on_the_cascades_clock_is_refused(event_time_ms: int) -> None:
    """Stages refuse a negative time, so such an event would cost its user every personal page to come."""
    with pytest.raises(InvalidArgument, match=r"events\[0\].event_time_ms lies before 1970"):
        check_events([event(event_time_ms=event_time_ms)], NOW_MS, -400 * 86_400_000)
    check_events([event(event_time_ms=400 * 86_400_000 + 1)], NOW_MS, -400 * 86_400_000)


def test_events_are_put_in_order_of_time_per_user() -> None:
    events = [event(event_id="b", event_time_ms=NOW_MS), event(event_id="a", event_time_ms=NOW_MS - 5)]
    assert [event.event_id for event in check_events(events, NOW_MS, 0)["42"]] == ["a", "b"]


@pytest.mark.parametrize("shift_ms", [0, -400 * 86_400_000])
def test_what_a_fast_clock_dates_ahead_happened_now_so_that_the_next_page_knows_of_it(shift_ms: int) -> None:
    ahead = [event(event_id="b", event_time_ms=NOW_MS + 60_000), event(event_id="a", event_time_ms=NOW_MS + 2_000)]
    events = check_events([*ahead, event(event_id="c", event_time_ms=NOW_MS - 7)], NOW_MS, shift_ms)["42"]
    assert [each.event_id for each in events] == ["c", "a", "b"]
    assert [each.time_ms - shift_ms for each in events] == [NOW_MS - 7, NOW_MS - 1, NOW_MS - 1]
    assert [each.device_time_ms for each in events] == [NOW_MS - 7, NOW_MS + 2_000, NOW_MS + 60_000]


def test_relation_kinds_on_the_wire_are_those_of_the_store() -> None:
    named = {name.removeprefix("RELATION_KIND_"): number for name, number in RelationKind.items() if number}
    assert named == {relation.name: int(relation) for relation in Relation}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": ""}, "user_id must have 1 to 256 characters"),
        ({"user_id": "x" * 257}, "user_id must have 1 to 256 characters"),
        ({"account_id": 0}, "account_id must be > 0"),
        ({"account_id": -3}, "account_id must be > 0"),
        ({"kind": 0}, "kind must be one of 1 = FOLLOWED, 2 = MUTED, 3 = BLOCKED; got 0"),
        ({"kind": 4}, "kind must be one of"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_with_its_change(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"changes\[3\]\.{field}"):
        check_changes([*[change()] * 3, change(**changes)])


@pytest.mark.parametrize("count", [0, 1001])
def test_no_changes_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(InvalidArgument, match=f"changes must hold 1 to 1000 changes, got {count}"):
        check_changes([change()] * count)


def test_everything_of_an_event_is_kept() -> None:
    wire = event(
        action=Action.ACTION_DWELL, value=0.0, request_id="r1", position=0, surface="explore", event_time_ms=NOW_MS - 9
    )
    assert check_events([wire], NOW_MS, -5) == {
        "42": [FeedbackEvent("e1", 7, 3, DWELL, NOW_MS - 14, "42", NOW_MS - 9, 0.0, "r1", 0, "explore")]
    }


def test_what_a_client_leaves_out_is_none() -> None:
    ((kept,),) = check_events([event()], NOW_MS, 0).values()
    assert (kept.value, kept.position, kept.request_id, kept.surface) == (None, None, "", "")
