"""What visitors do: real requests, one per arrival, that hang together."""

from __future__ import annotations

import random
import time

from loadtests.journeys import SURFACE, Audience
from loadtests.traffic import Kind, Population, Traffic, read_traffic
from protos.explore.v1.feedback_pb2 import ACTION_HIDE, ACTION_IMPRESSION, ACTION_LIKE, ACTION_SAVE
from tests.loadtests.conftest import Asked

TABLE = read_traffic()


def audience(asked: Asked, mix: dict[Kind, float], **browsing: float) -> Audience:
    """With nobody reading or staying away for any time, unless the test says so."""
    habits = TABLE.browsing.model_copy(update={"reading_s": 0.0, "away_s": 0.0, **browsing})
    traffic: Traffic = TABLE.model_copy(update={"requests": mix, "browsing": habits})
    rng = random.Random(1)
    return Audience(traffic, Population(TABLE.audience, rng), asked.client, rng)


def arrive(visitors: Audience, times: int) -> None:
    for _ in range(times):
        visitors.arrive(time.perf_counter())


def test_every_arrival_is_one_request_that_does_not_fail(asked: Asked) -> None:
    arrive(audience(asked, dict(TABLE.requests)), 200)
    assert len(asked.reports) == 200
    assert {name for _, name, _ in asked.told} == {"first page", "later page", "see", "like", "save", "hide"}
    assert [told for told in asked.told if told[2]] == []


def test_without_anybody_ready_a_feed_is_opened(asked: Asked) -> None:
    arrive(audience(asked, {"open": 1e-9, "page_on": 1.0, "like": 1.0}, reading_s=1e9), 5)
    assert [name for _, name, _ in asked.told] == ["first page"] * 5


def test_paging_on_uses_the_token_of_the_page_before(asked: Asked) -> None:
    arrive(audience(asked, {"open": 1e-9, "page_on": 1.0}), 4)
    assert [request.page_token for request in asked.gateway.pages] == ["", "25", "50", "75"]
    assert len({request.user_id for request in asked.gateway.pages}) == 1


def test_events_name_the_page_and_the_place_that_caused_them(asked: Asked) -> None:
    visitors = audience(asked, {"open": 1e-9, "see": 1.0, "like": 1.0, "save": 1.0, "hide": 1.0})
    arrive(visitors, 30)
    [opened] = asked.gateway.pages
    events = asked.gateway.events
    assert {event.action for event in events} == {ACTION_IMPRESSION, ACTION_LIKE, ACTION_SAVE, ACTION_HIDE}
    assert len({event.event_id for event in events}) == len(events)
    for event in events:
        assert (event.user_id, event.request_id) == (opened.user_id, f"{opened.user_id}-0")
        assert (event.media_id, event.author_id) == (event.position + 1, event.position + 7)
        assert event.surface == SURFACE
    seen = [event.position for event in events if event.action == ACTION_IMPRESSION]
    assert seen[:25] == list(range(25))


def test_who_has_left_comes_back_to_a_new_feed(asked: Asked) -> None:
    visitors = audience(asked, {"open": 1e-9, "come_back": 1.0}, browsing=1)
    arrive(visitors, 3)  # the second one makes the first one leave
    users = [request.user_id for request in asked.gateway.pages]
    assert users[2] == users[0]
    assert {request.page_token for request in asked.gateway.pages} == {""}
