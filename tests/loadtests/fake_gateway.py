"""A gateway for load tests of load tests, as a process of its own: answers what feed.proto promises, or what it is told to spoil.

`python -m tests.loadtests.fake_gateway [--delay S] [--spoil KIND]` prints its port, and at its end what it was asked.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import grpc

from protos.explore.v1 import feed_pb2, feed_pb2_grpc, feedback_pb2, feedback_pb2_grpc

SPOILS = ("none", "short", "degraded", "shed", "busy", "lost", "twice", "order")
_PUSHBACK_MS = {"shed": "-1", "busy": "1"}  # never; soon
WORKERS = 256  # calls at a time, more than any of our tests has out


def page(request: feed_pb2.GetFeedRequest, spoil: str = "none") -> feed_pb2.GetFeedResponse:
    """A page as it should be, but for `spoil`. The token of the next one is its first position."""
    first = int(request.page_token or 0)
    positions = list(range(first, first + request.page_size - (spoil == "short")))
    items = [feed_pb2.FeedItem(media_id=place + 1, author_id=place + 7, position=place) for place in positions]
    if spoil == "twice":
        items[-1].media_id = items[0].media_id
    if spoil == "order":
        items[0].position, items[1].position = items[1].position, items[0].position
    lost = [feed_pb2.Degradation(stage="rank", reason=feed_pb2.DEGRADATION_REASON_DEADLINE)]
    return feed_pb2.GetFeedResponse(
        items=items,
        request_id=f"{request.user_id}-{first}",
        next_page_token=str(first + request.page_size),
        degradations=lost if spoil == "degraded" else [],
    )


class FakeGateway(feed_pb2_grpc.ExploreServiceServicer, feedback_pb2_grpc.FeedbackServiceServicer):
    """Answers after `delay_s`. Every second page is spoilt."""

    def __init__(self, delay_s: float = 0.0, spoil: str = "none") -> None:
        self._delay_s, self._spoil = delay_s, spoil
        self._numbers, self._lock = count(), threading.Lock()
        self.pages: list[feed_pb2.GetFeedRequest] = []
        self.events: list[feedback_pb2.Event] = []

    def GetFeed(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.pages.append(request)
            spoil = self._spoil if next(self._numbers) % 2 else "none"
        time.sleep(self._delay_s)  # it plays a slow server
        if spoil in _PUSHBACK_MS:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", _PUSHBACK_MS[spoil]),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")
        if spoil == "lost":
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        return page(request, spoil)

    def LogEvents(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.events.extend(request.events)
        time.sleep(self._delay_s)
        return feedback_pb2.LogEventsResponse(accepted=len(request.events))

    def start(self) -> tuple[grpc.Server, int]:
        """A server on a free loopback port."""
        server = grpc.server(ThreadPoolExecutor(WORKERS))
        feed_pb2_grpc.add_ExploreServiceServicer_to_server(self, server)
        feedback_pb2_grpc.add_FeedbackServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, port


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--spoil", choices=SPOILS, default="none")
    arguments = parser.parse_args()
    gateway = FakeGateway(arguments.delay, arguments.spoil)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server, port = gateway.start()
    print(port, flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop(None).wait()
    print(json.dumps({"pages": len(gateway.pages), "events": len(gateway.events)}), flush=True)


if __name__ == "__main__":
    main()
