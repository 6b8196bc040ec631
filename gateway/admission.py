"""What the gateway tells admission about its calls: who goes first, and which answers say something about load."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from protos.explore.v1 import feed_pb2, feedback_pb2
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from serving.admission import Calls, Priority
from serving.concurrency import Outcome

DELETE_USER = f"/{feedback_pb2.DESCRIPTOR.services_by_name['FeedbackService'].full_name}/DeleteUser"
GET_FEED = f"/{feed_pb2.DESCRIPTOR.services_by_name['ExploreService'].full_name}/GetFeed"


class GatewayCalls(Calls):
    """A user who opens the feed goes before one who scrolls on."""

    def passes_by(self, method: str) -> bool:
        """Deletions do: they wait for the end of pages, a second each, would lock out feedback, and bound themselves."""
        return method == DELETE_USER

    def priority(self, method: str, data: bytes) -> Priority:
        """LOW for a later page, which has a token; HIGH for all else. What cannot be read will be refused soon enough."""
        if method != GET_FEED:
            return Priority.HIGH
        try:
            return Priority.LOW if GetFeedRequest.FromString(data).page_token else Priority.HIGH
        except DecodeError:
            return Priority.HIGH

    def outcome(self, response: Any) -> Outcome:
        """The time of a page that waited for a stage in vain is no measure: a stage that hangs would look like load, and sending
        users away would not heal it."""
        if not isinstance(response, GetFeedResponse):
            return Outcome.DONE
        late = any(entry.reason == feed_pb2.DEGRADATION_REASON_DEADLINE for entry in response.degradations)
        return Outcome.HURRIED if late else Outcome.DONE
