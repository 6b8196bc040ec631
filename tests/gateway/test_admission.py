"""What the gateway tells admission about its calls."""

from __future__ import annotations

import pytest

from gateway.admission import GET_FEED, GatewayCalls
from protos.explore.v1.feed_pb2 import Degradation, GetFeedRequest, GetFeedResponse
from protos.explore.v1.feedback_pb2 import LogEventsResponse
from serving.admission import Priority

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


@pytest.mark.parametrize(
    ("reasons", "typical"),
    [
        ([], True),
        (["UNDER_DELIVERED"], True),
        (["DEADLINE"], False),
        (["UNDER_DELIVERED", "UNAVAILABLE"], False),
        (["ERROR"], False),
    ],
)
def test_a_page_that_lost_a_stage_says_nothing_about_load(reasons: list[str], typical: bool) -> None:
    lost = [Degradation(stage="rank", reason=f"DEGRADATION_REASON_{r}") for r in reasons]
    assert GatewayCalls().typical(GetFeedResponse(degradations=lost)) is typical


def test_every_answer_that_is_no_page_is_typical() -> None:
    assert GatewayCalls().typical(LogEventsResponse())
