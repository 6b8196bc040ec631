"""Explore's public API for load tests: every call is reported when it ends, and a page that breaks its contract is a failure.

An interceptor measures, so what calls the API reads as in any client. Latency counts from the moment when a request was due, not
from when it was sent: a client that was held up must not make the server look fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from loadtests.access import PLAIN, Access
from loadtests.page_check import is_degraded, problem_of
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.feedback_pb2 import Event, LogEventsRequest, LogEventsResponse
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub

PAGES, FEEDBACK = "GetFeed", "LogEvents"  # request types of the reports
DEGRADED = ", degraded"  # ends the name of a page that was made without some stage
Report = Callable[..., None]  # locust's `environment.events.request.fire`


class CallFailed(Exception):
    """The call ended with this gRPC status."""


class BadPage(Exception):
    """The call gave a page, but not one that a user should get."""


@dataclass(frozen=True)
class Asked:
    """What the interceptor must know of a call. `due`: when it should have been sent, by time.perf_counter()."""

    name: str
    due: float
    judge: Callable[[Any], tuple[str, Exception | None]]  # of the response: the name to report, what is wrong with it


_asked: ContextVar[Asked] = ContextVar("asked")  # greenlets have a context each, as threads do


if TYPE_CHECKING:
    _Interceptor = grpc.UnaryUnaryClientInterceptor[Any, Any]
else:
    _Interceptor = grpc.UnaryUnaryClientInterceptor  # generic in its type stubs only


class RequestEvents(_Interceptor):
    """Reports every call as one request; raises CallFailed or BadPage for those that failed."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """gRPC's hook. Waits for the call to end."""
        asked = _asked.get()
        call = continuation(details, request)
        error: Exception | None
        try:
            response = call.result()
            name, error = asked.judge(response)
            length = response.ByteSize()
        except grpc.RpcError as failure:
            name, error, length = asked.name, CallFailed(failure.code().name), 0
        self._report(
            request_type=details.method.rsplit("/", 1)[1],
            name=name,
            response_time=(time.perf_counter() - asked.due) * 1e3,
            response_length=length,
            exception=error,
            context={},
        )
        if error is not None:
            raise error
        return call


class ExploreClient:
    """One connection to a gateway. Calls return None when they failed, which has been reported then."""

    def __init__(self, host: str, report: Report, deadline_s: float, access: Access = PLAIN) -> None:
        """`host`: HOST:PORT."""
        channel = access.channel(host)
        measured = grpc.intercept_channel(channel, RequestEvents(report))
        self._feed, self._feedback = ExploreServiceStub(measured), FeedbackServiceStub(measured)
        self._channel, self._deadline_s, self._metadata = channel, deadline_s, access.metadata

    def page(self, request: GetFeedRequest, due: float, shown: Collection[int] = ()) -> GetFeedResponse | None:
        """A page, if it is as it should be. `shown`: media of the feed's pages before it, in their order."""

        def judge(page: GetFeedResponse) -> tuple[str, Exception | None]:
            problem = problem_of(page, request.page_size, len(shown), set(shown))
            return name + DEGRADED * is_degraded(page), BadPage(problem) if problem else None

        name = "later page" if request.page_token else "first page"
        return self._ask(self._feed.GetFeed, request, Asked(name, due, judge))

    def log_events(self, name: str, events: list[Event], due: float) -> LogEventsResponse | None:
        """What became of the events."""
        request = LogEventsRequest(events=events)
        return self._ask(self._feedback.LogEvents, request, Asked(name, due, lambda _: (name, None)))

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _ask(self, method: Any, request: Any, asked: Asked) -> Any:
        token = _asked.set(asked)
        try:
            return method(request, timeout=self._deadline_s, metadata=self._metadata)
        except (CallFailed, BadPage):
            return None
        finally:
            _asked.reset(token)


def wait_for_gateway(host: str, timeout_s: float, access: Access = PLAIN) -> bool:
    """Whether something at HOST:PORT accepts connections within this time, and is who it should be."""
    with access.channel(host) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=timeout_s)
        except grpc.FutureTimeoutError:
            return False
    return True
