"""The page: value, diversity, positions and the token of the page after it."""

from __future__ import annotations

import numpy as np
import pytest

from gateway import paging
from gateway.diversity import DiversityConfig
from gateway.feed import Standing
from gateway.page import PagePolicy, compose, next_token
from gateway.paging import Cursor
from gateway.trace import Trace
from tests.gateway.feeds import candidates, feed_request, standing

POLICY = PagePolicy("default", {"like": 1.0, "negative": -10.0}, DiversityConfig())
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


def test_debug_says_why_a_candidate_is_not_on_the_page() -> None:
    trace = Trace(True)
    compose(standing([2.0, 1.0]), feed_request(page_size=1, debug=True), POLICY, trace)
    assert trace.dropped == {101: "diversity: others were worth more"}
