"""What the gateway tells admission about its calls."""

from __future__ import annotations

import pytest

from gateway.admission import DELETE_USER, GET_FEED, GatewayCalls
from protos.explore.v1 import feed_pb2, feedback_pb2
from protos.explore.v1.feed_pb2 import Degradation, GetFeedRequest, GetFeedResponse
from protos.explore.v1.feedback_pb2 import LogEventsResponse
from serving.admission import Priority
from serving.concurrency import Outcome

LOG_EVENTS = "/explore.v1.FeedbackService/LogEvents"


@pytest.mark.parametrize(
    ("method", "request_bytes", "expected"),
    [
        (GET_FEED, GetFeedRequest(user_id="1").SerializeToString(), Priority.HIGH),
        (GET_FEED, GetFeedRequest(user_id="1", page_token="abc").SerializeToString(), Priority.LOW),
        (GET_FEED, b"", Priority.HIGH),
        (GET_FEED, b"\xff\xff", Priority.HIGH),
        (LOG_EVENTS, GetFeedRequest(user_id="1", page_token="abc").SerializeToString(), Priority.HIGH),
    ],
)
def test_later_pages_stand_back(method: str, request_bytes: bytes, expected: Priority) -> None:
    assert GatewayCalls().priority(method, request_bytes) is expected


def test_only_deletions_take_no_place_behind_the_door() -> None:
    names = {
        each.full_name: each for file in (feed_pb2, feedback_pb2) for each in file.DESCRIPTOR.services_by_name.values()
    }
    methods = [f"/{name}/{method.name}" for name, service in names.items() for method in service.methods]
    assert [method for method in methods if GatewayCalls().passes_by(method)] == [DELETE_USER]


@pytest.mark.parametrize(
    ("reasons", "outcome"),
    [
        ([], Outcome.DONE),
        (["UNDER_DELIVERED"], Outcome.DONE),
        (["DEADLINE"], Outcome.HURRIED),
        (["ERROR", "DEADLINE"], Outcome.HURRIED),
        (["UNDER_DELIVERED", "UNAVAILABLE"], Outcome.DONE),  # it cost no time
        (["PARTIAL"], Outcome.DONE),  # a shard that was lost at once
    ],
)
def test_a_page_that_waited_for_a_stage_in_vain_is_no_measure_of_latency(reasons: list[str], outcome: Outcome) -> None:
    lost = [Degradation(stage="rank", reason=f"DEGRADATION_REASON_{reason}") for reason in reasons]
    assert GatewayCalls().outcome(GetFeedResponse(degradations=lost)) is outcome


def test_every_answer_that_is_no_page_is_done() -> None:
    assert GatewayCalls().outcome(LogEventsResponse()) is Outcome.DONE
