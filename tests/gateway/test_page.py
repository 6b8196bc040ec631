"""The page: value, diversity, positions and the token of the page after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gateway import paging
from gateway.diversity import DiversityConfig
from gateway.experiments.layers import Arm, Experiments, Layer
from gateway.feed import Page, Standing
from gateway.page import PagePolicy, compose, exposure_of, next_token
from gateway.paging import Cursor
from gateway.random_slots import RandomSlots
from gateway.trace import Trace
from tests.gateway.feeds import NOW_MS, candidates, feed_request, standing

POLICY = PagePolicy({"like": 1.0, "negative": -10.0}, DiversityConfig())
TASKS = ("like", "negative")


def test_items_come_in_order_of_value_not_of_the_stage_score() -> None:
    ranked = standing([9.0, 8.0, 7.0], [[0.1, 0.0], [0.3, 0.0], [0.9, 0.1]], TASKS)
    items = compose(ranked, feed_request(), POLICY, Trace(False))
    assert [item.media_id for item in items] == [101, 100, 102]


def test_an_item_tells_its_value_and_probabilities() -> None:
    item = compose(standing([1.0], [[0.5, 0.125]], TASKS), feed_request(), POLICY, Trace(False))[0]
    assert item.value == pytest.approx(-0.75)
    assert item.task_probability == {"like": 0.5, "negative": 0.125}


@pytest.mark.parametrize("path", ["trending > mix", ""])
def test_an_item_tells_its_source_seed_account_and_path(path: str) -> None:
    found = Standing.unranked(candidates([1.0], seed=[9], path=path))
    item = compose(found, feed_request(), POLICY, Trace(False))[0]
    assert (item.source, item.seed_account_id, item.source_path) == ("trending", 9, path)


def test_without_probabilities_the_order_of_the_last_stage_stays_and_no_value_is_claimed() -> None:
    items = compose(standing([-5.0, -7.0, np.nan]), feed_request(), POLICY, Trace(False))
    assert [(item.media_id, item.value) for item in items] == [(100, None), (101, None), (102, None)]


def test_diversity_also_holds_without_probabilities() -> None:
    same = Standing.unranked(candidates([4, 3, 2, 1], author=[1, 1, 2, 3]))
    assert [item.media_id for item in compose(same, feed_request(), POLICY, Trace(False))] == [100, 102, 101]


def test_positions_go_on_where_the_page_before_ended() -> None:
    request = feed_request(page_size=2, cursor=Cursor(25, np.array([7, 8])))
    assert [item.position for item in compose(standing([2.0, 1.0]), request, POLICY, Trace(False))] == [25, 26]


def test_the_next_token_lists_everything_shown_so_far() -> None:
    request = feed_request(page_size=2, cursor=Cursor(2, np.array([7, 8])))
    token = next_token(request, compose(standing([2.0, 1.0]), request, POLICY, Trace(False)))
    cursor = paging.decode("42", token)
    assert (cursor.next_position, cursor.shown_media_id_S.tolist()) == (4, [7, 8, 100, 101])


def test_a_page_that_is_not_full_is_the_last_one() -> None:
    request = feed_request(page_size=3)
    assert next_token(request, compose(standing([2.0, 1.0]), request, POLICY, Trace(False))) == ""


def test_nothing_to_show_gives_an_empty_page() -> None:
    assert compose(standing([]), feed_request(), POLICY, Trace(False)) == ()


def test_chance_fills_places_and_every_item_tells_how_likely_it_was() -> None:
    policy = PagePolicy({"like": 1.0}, DiversityConfig(), RandomSlots(1.0))
    four = standing([4.0, 3.0, 2.0, 1.0], [[0.4, 0.0], [0.3, 0.0], [0.2, 0.0], [0.1, 0.0]], TASKS)
    pages = [compose(four, replace(feed_request(), request_id=f"r{i}"), policy, Trace(False)) for i in range(50)]
    assert {item.media_id for items in pages for item in items[:1]} == {100, 101, 102, 103}
    assert [item.propensity for item in pages[0]] == pytest.approx([1 / 4, 1 / 3, 1 / 2])


def test_a_lost_cascade_leaves_nothing_to_chance_since_a_negative_value_could_be_drawn() -> None:
    policy = PagePolicy({"like": 1.0}, DiversityConfig(), RandomSlots(1.0))
    items = compose(standing([3.0, 2.0, 1.0]), feed_request(), policy, Trace(False))
    assert [(item.media_id, item.propensity) for item in items] == [(100, 1.0), (101, 1.0), (102, 1.0)]


def test_the_positions_of_random_slots_are_those_of_the_whole_feed() -> None:
    policy = PagePolicy({"like": 1.0}, DiversityConfig(), RandomSlots(1.0, 26, 26))
    request = feed_request(page_size=3, cursor=Cursor(25, np.array([7, 8])))
    items = compose(standing([2.0, 1.0, 0.5], [[0.3, 0], [0.2, 0], [0.1, 0]], TASKS), request, policy, Trace(False))
    assert [item.propensity for item in items] == [1.0, 0.5, 1.0]


def test_the_exposure_is_what_the_response_says() -> None:
    arms = Experiments((Layer("a", "a", 1.0, (Arm("x"), Arm("y"))),)).assign("42")
    request = feed_request(page_size=2, cursor=Cursor(25, np.array([7, 8])))
    items = compose(standing([2.0, 1.0]), request, POLICY, Trace(False))
    shown = exposure_of(request, Page(items, "v1", False, "", arms))
    assert (shown.request_id, shown.user_id, shown.time_ms, shown.surface) == ("r1", "42", NOW_MS, "explore")
    assert (shown.arms, shown.arm_propensity, shown.bundle_version) == (arms.arms, 0.5, "v1")
    assert (shown.media_id_K.tolist(), shown.position_K.tolist()) == ([100, 101], [25, 26])
    assert shown.propensity_K.tolist() == [1.0, 1.0]


def test_debug_says_why_a_candidate_is_not_on_the_page() -> None:
    trace = Trace(True)
    compose(standing([2.0, 1.0]), feed_request(page_size=1, debug=True), POLICY, trace)
    assert trace.dropped == {101: "diversity: others were worth more"}


def test_debug_does_not_call_worse_what_chance_passed_over() -> None:
    trace, policy = Trace(True), PagePolicy({"like": 1.0}, DiversityConfig(), RandomSlots(1.0))
    compose(standing([2.0, 1.0], [[0.2, 0], [0.1, 0]], TASKS), feed_request(page_size=1, debug=True), policy, trace)
    assert list(trace.dropped.values()) == ["diversity: others were worth more, or drawn by chance"]
