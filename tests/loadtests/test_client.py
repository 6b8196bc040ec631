"""The client reports every call once: how long since it was due, what it brought, and what was wrong with it."""

from __future__ import annotations

import socket
import time

import pytest

from loadtests.client import PAGES, ExploreClient, wait_for_gateway
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feedback_pb2 import Event
from tests.loadtests.conftest import Asked

FIRST = GetFeedRequest(user_id="1", page_size=5)


def test_a_page_and_events_are_reported_with_their_size(asked: Asked) -> None:
    page = asked.client.page(FIRST, time.perf_counter())
    stored = asked.client.log_events("like", [Event(event_id="a")], time.perf_counter())
    assert page is not None
    assert stored is not None
    assert asked.told == [(PAGES, "first page", ""), ("LogEvents", "like", "")]
    assert [report["response_length"] for report in asked.reports] == [page.ByteSize(), stored.ByteSize()]


def test_latency_counts_from_when_the_call_was_due(asked: Asked) -> None:
    asked.client.page(FIRST, time.perf_counter() - 60.0)
    assert 60_000 <= asked.reports[0]["response_time"] < 70_000


def test_later_pages_go_on_where_the_ones_before_ended(asked: Asked) -> None:
    page = asked.client.page(FIRST, time.perf_counter())
    assert page is not None
    request = GetFeedRequest(user_id="1", page_size=5, page_token=page.next_page_token)
    shown = [item.media_id for item in page.items]
    assert asked.client.page(request, time.perf_counter(), shown) is not None
    assert asked.client.page(request, time.perf_counter(), [0, *shown[1:]]) is not None
    assert asked.client.page(request, time.perf_counter(), shown[1:]) is None
    assert [told[1:] for told in asked.told[2:]] == [("later page", ""), ("later page", "positions out of order")]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("short", "short page"),
        ("twice", "media twice"),
        ("order", "positions out of order"),
        ("shed", "RESOURCE_EXHAUSTED"),
    ],
    indirect=["asked"],
)
def test_what_no_user_should_get_is_a_failure(asked: Asked, error: str) -> None:
    pages = [asked.client.page(FIRST, time.perf_counter()) for _ in range(2)]
    assert pages[0] is not None
    assert pages[1] is None
    assert asked.told == [(PAGES, "first page", ""), (PAGES, "first page", error)]


@pytest.mark.parametrize(("asked", "calls"), [("busy", 3), ("lost", 3), ("shed", 2)], indirect=["asked"])
def test_what_a_gateway_asks_to_try_again_is_tried_again_and_reported_once(asked: Asked, calls: int) -> None:
    answers = [asked.client.page(FIRST, time.perf_counter()) for _ in range(2)]
    assert len(asked.gateway.pages) == calls
    assert len(asked.reports) == 2
    assert (answers[1] is not None) == (calls == 3)


@pytest.mark.parametrize("asked", ["degraded"], indirect=True)
def test_degraded_pages_are_told_apart(asked: Asked) -> None:
    for _ in range(2):
        assert asked.client.page(FIRST, time.perf_counter()) is not None
    assert asked.told == [(PAGES, "first page", ""), (PAGES, "first page, degraded", "")]


def test_nobody_there_is_a_failed_call_and_no_gateway() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        reports: list[str] = []
        client = ExploreClient(host, lambda **report: reports.append(str(report["exception"])), 1.0)
        assert client.page(FIRST, time.perf_counter()) is None
        client.close()
        assert reports == ["UNAVAILABLE"]
        assert not wait_for_gateway(host, 0.1)
