"""GetFeed's front door: defaults, and every wrong field by its name."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import GatewayConfig
from gateway.diversity import DiversityConfig
from gateway.experiments.layers import Arm, Experiments, Layer
from gateway.feed import Page, Standing
from gateway.page import PagePolicy, compose
from gateway.servicer import parse, respond
from gateway.trace import Trace
from protos.explore.v1.feed_pb2 import GetFeedRequest
from serving.errors import InvalidArgument
from tests.gateway.feeds import NOW_MS, candidates, feed_request, standing

CONFIG = GatewayConfig()


def test_what_is_left_out_gets_its_default() -> None:
    request = parse(GetFeedRequest(user_id="42"), CONFIG, NOW_MS)
    assert (request.page_size, request.surface, request.cursor.next_position, request.time_ms) == (
        25,
        "explore",
        0,
        NOW_MS,
    )


@pytest.mark.parametrize("preview", [False, True])
def test_a_preview_is_asked_for(preview: bool) -> None:
    assert parse(GetFeedRequest(user_id="42", preview=preview), CONFIG, NOW_MS).preview is preview


def test_every_request_has_an_id_of_its_own() -> None:
    asked = GetFeedRequest(user_id="42")
    assert parse(asked, CONFIG, NOW_MS).request_id != parse(asked, CONFIG, NOW_MS).request_id


@pytest.mark.parametrize("page_size", [0, -1, 51, 2**31 - 1])
def test_a_page_size_outside_its_range_is_refused(page_size: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"page_size must lie in 1\.\.50, got {page_size}"):
        parse(GetFeedRequest(user_id="42", page_size=page_size), CONFIG, NOW_MS)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 257}, "user_id"),
        ({"user_id": "42", "surface": "x" * 65}, "surface"),
        ({"user_id": "42", "page_token": "broken"}, "page_token"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(GetFeedRequest(**fields), CONFIG, NOW_MS)
    assert caught.value.field == name


def test_a_response_tells_arms_and_propensities() -> None:
    chance = Layer("chance", "chance", 0.5, (Arm("x"),), {"qa": "x"})
    weights = Layer("weights", "weights", 1.0, (Arm("y"), Arm("z")), {"qa": "z"})
    items = compose(standing([2.0]), feed_request(), PagePolicy({}, DiversityConfig()), Trace(False))
    arms = Experiments((chance, weights)).assign("42")
    response = respond(Page(items, "v1", False, "", arms), feed_request(), Trace(False))
    assert (response.arm, dict(response.arms)) == (arms.name, arms.arms)
    assert (response.arm_propensity, response.arms_excluded) == (0.25, False)
    assert [item.propensity for item in response.items] == [1.0]
    forced = respond(
        Page((), "v1", False, "", Experiments((chance, weights)).assign("qa")), feed_request(), Trace(False)
    )
    assert (forced.arm, forced.arm_propensity, forced.arms_excluded) == ("chance=forced:x,weights=forced:z", 1.0, True)


def test_without_experiments_the_arm_is_the_default_one() -> None:
    response = respond(Page((), "v1", False, ""), feed_request(), Trace(False))
    assert (response.arm, dict(response.arms), response.arm_propensity) == ("default", {}, 1.0)


def test_page_and_debug_say_which_path_brought_an_item() -> None:
    request, trace = feed_request(page_size=1, debug=True), Trace(True)
    sourced = candidates([2.0, 1.0])
    trace.source(sourced)
    items = compose(Standing.unranked(sourced), request, PagePolicy({}, DiversityConfig()), trace)
    response = respond(Page(items, "v1", False, ""), request, trace)
    assert [item.source_path for item in response.items] == ["trending > mix"]
    assert [candidate.source_path for candidate in response.debug.candidates] == ["trending > mix"] * 2
