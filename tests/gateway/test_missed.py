""" "In case you missed it": when there is a module, and what stands in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkey.asyncio import Valkey

from features.actions import Action
from features.user_state import EMPTY, StateEvent, UserStateStore
from gateway.diversity import DiversityConfig
from gateway.feed import FeedItem, Standing
from gateway.missed import MISSED, Absence, Missed
from gateway.page import PagePolicy, compose
from gateway.paging import Cursor
from gateway.trace import Trace
from gateway.users import FeedUser, Users
from serving.deadline import Budget
from tests.features.state_writer import StateWriter
from tests.gateway.feeds import NOW_MS, candidates, feed_request, popular_items

HOUR_MS = 3_600_000
AFTER_MS = 72 * HOUR_MS
LEFT_MS = NOW_MS - 100 * HOUR_MS  # when the user was last here
BEFORE, MEANWHILE, LATER = LEFT_MS - HOUR_MS, LEFT_MS + HOUR_MS, NOW_MS + HOUR_MS
FIRST_MEDIA = 100  # of tests.gateway.feeds.candidates
POLICY = PagePolicy({"like": 1.0}, DiversityConfig())


def _missed(created_ms: list[int], size: int = 3, after_ms: int = AFTER_MS) -> Missed:
    """The candidates of `tests.gateway.feeds`, published when `created_ms` says."""
    items = popular_items([0] * len(created_ms), [0] * len(created_ms), created_ms)
    return Missed(replace(items, media_id_M=np.arange(len(created_ms)) + FIRST_MEDIA), after_ms, size)


def _user(last_visit_ms: int | None) -> FeedUser:
    return FeedUser(EMPTY.context("42", NOW_MS, ""), np.empty(0, dtype=np.int64), last_visit_ms)


def _absence(created_ms: list[int], size: int = 3) -> Absence:
    absence = _missed(created_ms, size).absence(feed_request(), _user(LEFT_MS))
    assert absence is not None
    return absence


def _page(
    value: list[float], created_ms: list[int], author: list[int] | None = None, page_size: int = 50
) -> list[FeedItem]:
    found = candidates(value, author=author)
    standing = Standing(found, ("like",), np.array(value, dtype=np.float32)[:, None])
    request = feed_request(page_size=page_size)
    return list(compose(standing, request, POLICY, Trace(False), _absence(created_ms)))


def _module(items: list[FeedItem]) -> list[int]:
    return [item.media_id for item in items if item.module]


def test_the_best_of_the_absence_stand_above_better_ones() -> None:
    items = _page([0.9, 0.5, 0.8, 0.6], [BEFORE, MEANWHILE, BEFORE, MEANWHILE])
    assert [(item.media_id, item.module) for item in items] == [(103, MISSED), (101, MISSED), (100, ""), (102, "")]


def test_positions_are_contiguous() -> None:
    assert [item.position for item in _page([0.9, 0.5, 0.8], [BEFORE, MEANWHILE, MEANWHILE])] == [0, 1, 2]


def test_what_is_worth_less_than_nothing_is_not_missed() -> None:
    assert _module(_page([0.9, -0.1, -0.5], [BEFORE, MEANWHILE, MEANWHILE])) == []


@pytest.mark.parametrize("created_ms", [BEFORE, LEFT_MS, LATER])
def test_what_was_published_at_another_time_is_not_missed(created_ms: int) -> None:
    assert _module(_page([0.9, 0.5], [created_ms, created_ms])) == []


def test_media_that_the_item_table_does_not_hold_are_not_missed() -> None:
    assert _module(_page([0.9, 0.5], [MEANWHILE])) == [100]


def test_a_further_item_of_an_author_yields_in_the_module_as_on_the_page() -> None:
    items = _page([1.0, 0.9, 0.6, 0.5], [MEANWHILE] * 4, author=[1, 1, 2, 3])
    assert (_module(items), [item.diversity_factor for item in items]) == ([100, 102, 101], [1.0, 1.0, 0.625, 1.0])


def test_the_page_after_the_module_is_discounted_for_it() -> None:
    items = _page([1.0, 0.9, 0.6], [MEANWHILE, BEFORE, BEFORE], author=[1, 1, 2])
    assert [item.media_id for item in items] == [100, 102, 101]


def test_a_page_is_no_longer_for_its_module() -> None:
    assert _module(_page([0.9, 0.8, 0.7], [MEANWHILE] * 3, page_size=2)) == [100, 101]


def test_without_values_there_is_no_module() -> None:
    unvalued = Standing.unranked(candidates([0.9, 0.5]))
    items = compose(unvalued, feed_request(), POLICY, Trace(False), _absence([MEANWHILE] * 2))
    assert _module(list(items)) == []


@pytest.mark.parametrize("last_visit_ms", [None, NOW_MS, LATER, NOW_MS - AFTER_MS + 1])
def test_who_was_not_away_for_long_missed_nothing(last_visit_ms: int | None) -> None:
    assert _missed([MEANWHILE]).absence(feed_request(), _user(last_visit_ms)) is None


def test_who_was_away_just_long_enough_did() -> None:
    assert _missed([MEANWHILE]).absence(feed_request(), _user(NOW_MS - AFTER_MS)) is not None


def test_later_pages_have_no_module() -> None:
    request = feed_request(cursor=Cursor(25, np.array([7])))
    assert _missed([MEANWHILE]).absence(request, _user(LEFT_MS)) is None


def test_nought_hours_switch_it_off() -> None:
    assert _missed([MEANWHILE], after_ms=0).absence(feed_request(), _user(LEFT_MS)) is None


async def test_an_impression_is_a_visit(valkey: Valkey) -> None:
    store, time = StateWriter(valkey), Budget(60.0)
    await store.append("42", [StateEvent("e1", 7, 3, Action.LIKE, LEFT_MS)])
    before = await Users(store, 5.0).load(feed_request(), time, Trace(False))
    await store.append("42", [StateEvent("e2", 8, 3, Action.IMPRESSION, NOW_MS - 5)])
    after = await Users(store, 5.0).load(feed_request(), time, Trace(False))
    assert (before.last_visit_ms, after.last_visit_ms) == (LEFT_MS, NOW_MS - 5)


async def test_a_user_without_history_was_never_here(valkey: Valkey) -> None:
    assert (
        await Users(UserStateStore(valkey), 5.0).load(feed_request(), Budget(60.0), Trace(False))
    ).last_visit_ms is None


@st.composite
def _pages(draw: st.DrawFn) -> tuple[list[float], list[int], list[int], int]:
    value = draw(st.lists(st.integers(-5000, 5000).map(lambda n: n / 8192), max_size=30))
    when = st.lists(st.sampled_from([BEFORE, MEANWHILE, LATER]), min_size=len(value), max_size=len(value))
    authors = st.lists(st.integers(1, 4), min_size=len(value), max_size=len(value))
    return value, draw(when), draw(authors), draw(st.integers(1, 50))


@given(_pages())
def test_any_page_keeps_every_promise(page: tuple[list[float], list[int], list[int], int]) -> None:
    value, created_ms, author, page_size = page
    items = _page(value, created_ms, author, page_size)
    module = [item for item in items if item.module]
    assert len({item.media_id for item in items}) == len(items) == min(page_size, len(value))
    assert module == items[: len(module)]
    assert all(created_ms[item.media_id - FIRST_MEDIA] == MEANWHILE and (item.value or 0) >= 0 for item in module)
    fitting = sum(when == MEANWHILE and worth >= 0 for when, worth in zip(created_ms, value, strict=True))
    assert len(module) == min(3, fitting, page_size)
    worth = [(item.value or 0) * item.diversity_factor for item in module]
    assert worth == sorted(worth, reverse=True)
    if len(set(author)) == len(author):
        values = [item.value or 0 for item in module]
        assert values == sorted(values, reverse=True)
