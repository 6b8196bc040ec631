"""The five real processes: order, counts, provenance, pages, and the arithmetic of the page recomputed from outside."""

from __future__ import annotations

import grpc
import numpy as np
import polars as pl
import pytest

from gateway.diversity import NO_SEED
from protos.explore.v1.feed_pb2 import GetFeedResponse
from tests.e2e.conftest import Served

SOURCES = {"similar", "engaged", "taste", "also", "topics", "friends", "cold", "trending", "fresh"}
WEIGHTS_TABLE = "default"
STRANGER = "nobody-has-seen-this-user"


@pytest.fixture(scope="module")
def explained(served: Served) -> GetFeedResponse:
    """One page with everything known about it."""
    return served.page("42", debug=True)


def test_the_funnel_is_500_150_50_25(explained: GetFeedResponse) -> None:
    runs = [(run.stage, run.candidates_in, run.candidates_out) for run in explained.debug.stages]
    assert runs == [
        ("retrieval", 0, 500),
        ("prerank", 500, 150),
        ("rank", 150, 50),
        ("rerank", 50, 50),
        ("diversity", 50, 25),
    ]


def test_nothing_is_degraded(explained: GetFeedResponse) -> None:
    assert (list(explained.degradations), explained.cold_start) == ([], False)


def test_every_item_tells_where_it_comes_from(explained: GetFeedResponse) -> None:
    for item in explained.items:
        assert item.source in SOURCES
        assert item.source_path.split(" > ")[-1] == "mix"
        assert (item.seed_account_id > 0) == ("interacted" in item.source_path or "followed" in item.source_path)
    assert all(item.author_id > 0 for item in explained.items)


def test_no_item_comes_twice(explained: GetFeedResponse) -> None:
    media = [item.media_id for item in explained.items]
    assert len(set(media)) == len(media) == 25


def test_positions_count_from_zero(explained: GetFeedResponse) -> None:
    assert [item.position for item in explained.items] == list(range(25))


def test_value_is_the_weighted_sum_of_the_returned_probabilities(served: Served, explained: GetFeedResponse) -> None:
    store = served.workspace.bundles()
    weights = store.manifest(explained.bundle_version).value_weights[WEIGHTS_TABLE]
    for item in explained.items:
        worth = sum(weights[entry.task] * entry.probability for entry in item.task_probabilities)
        assert item.value == pytest.approx(worth, abs=1e-6)


def test_the_order_follows_from_values_and_diversity_alone(served: Served, explained: GetFeedResponse) -> None:
    """Recomputed from what rerank said of all 50 candidates, without the gateway's code."""
    weights = served.workspace.bundles().manifest(explained.bundle_version).value_weights[WEIGHTS_TABLE]
    left = {}
    for candidate in explained.debug.candidates:
        for placement in candidate.placements:
            if placement.stage == "rerank":
                worth = sum(weights[entry.task] * entry.probability for entry in placement.task_probabilities)
                left[candidate.media_id] = (worth, candidate.author_id, candidate.seed_account_id)
    assert len(left) == 50
    page: list[int] = []
    authors: dict[int, int] = {}
    seeds: dict[int, int] = {}
    while len(page) < 25:
        media_id = max(left, key=lambda media: _discounted(*left[media], authors, seeds))
        _, author, seed = left.pop(media_id)
        authors[author] = authors.get(author, 0) + 1
        seeds[seed] = seeds.get(seed, 0) + (seed != NO_SEED)
        page.append(media_id)
    assert [item.media_id for item in explained.items] == page


def _discounted(worth: float, author: int, seed: int, authors: dict[int, int], seeds: dict[int, int]) -> float:
    factor = float(np.prod([0.75 * 0.5**count + 0.25 for count in (authors.get(author, 0), seeds.get(seed, 0))]))
    return worth * factor if worth >= 0 else worth / factor


def test_every_candidate_is_on_the_page_or_says_why_not(explained: GetFeedResponse) -> None:
    on_page = {item.media_id for item in explained.items}
    assert len(explained.debug.candidates) == 500
    for candidate in explained.debug.candidates:
        assert (candidate.media_id in on_page) == (candidate.dropped == "")


def test_every_stage_keeps_its_best_and_ranks_in_order(explained: GetFeedResponse) -> None:
    for stage, keep, after in (("prerank", 150, "rank"), ("rank", 50, "rerank")):
        placed = {c.media_id: p for c in explained.debug.candidates for p in c.placements if p.stage == stage}
        scores = [p.score for p in sorted(placed.values(), key=lambda p: p.rank)]
        passed = {c.media_id for c in explained.debug.candidates for p in c.placements if p.stage == after}
        assert scores == sorted(scores, reverse=True)
        assert passed == {media for media, p in placed.items() if p.rank < keep}


def test_page_two_goes_on_and_repeats_nothing(served: Served) -> None:
    first = served.page("7")
    second = served.page("7", page_token=first.next_page_token)
    assert {i.media_id for i in first.items}.isdisjoint(i.media_id for i in second.items)
    assert [item.position for item in second.items] == list(range(25, 50))


def test_a_new_feed_does_not_show_what_was_shown(served: Served) -> None:
    first, again = served.page("8"), served.page("8")
    assert {i.media_id for i in first.items}.isdisjoint(i.media_id for i in again.items)


def test_no_page_shows_media_that_the_log_says_were_seen(served: Served) -> None:
    seen = served.dataset.events.filter(served.dataset.events["user_id"] == "42")["media_id"].to_list()
    assert {item.media_id for item in served.page("42").items}.isdisjoint(seen)


def test_a_user_that_nothing_is_known_about_gets_a_full_page_and_is_flagged(served: Served) -> None:
    page = served.page(STRANGER)
    assert (len(page.items), page.cold_start) == (25, True)
    assert {item.source for item in page.items} <= {"trending", "fresh", "cold"}


def test_who_comes_back_after_days_first_gets_what_was_published_meanwhile(served: Served) -> None:
    last_visits = served.dataset.events.group_by("user_id").agg(pl.col("event_time").max()).sort("event_time")
    created = dict(served.dataset.media.select("media_id", "created_at").iter_rows())
    lengths = []
    for user, left in last_visits.head(10).iter_rows():
        page = served.page(user, preview=True)
        module = [item for item in page.items if item.module == "missed"]
        assert len(page.items) == 25
        assert module == list(page.items[: len(module)])
        assert all(created[item.media_id] > left and item.value >= 0 for item in module)
        lengths.append(len(module))
        later = served.page(user, preview=True, page_token=page.next_page_token)
        assert not any(item.module for item in later.items)
    assert max(lengths) == 3
    (newest,) = last_visits.tail(1)["user_id"]
    assert not any(item.module for item in served.page(newest, preview=True).items)


def test_users_get_different_pages(served: Served) -> None:
    pages = [frozenset(item.media_id for item in served.page(user).items) for user in ("1", "2", "3", "5")]
    assert len(set(pages)) == 4


def test_fewer_items_can_be_asked_for(served: Served) -> None:
    assert len(served.page("9", page_size=3).items) == 3


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "42", "page_size": 0}, "page_size"),
        ({"user_id": "42", "page_size": -3}, "page_size"),
        ({"user_id": "42", "page_size": 2**31 - 1}, "page_size"),
        ({"user_id": "42", "page_token": "not-a-token"}, "page_token"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(served: Served, fields: dict[str, object], field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.page(**fields)  # type: ignore[arg-type]
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(field)
