"""What counts as a page."""

from __future__ import annotations

import pytest

from loadtests.page_check import AGAIN, OUT_OF_ORDER, SHORT, TWICE, is_degraded, problem_of
from protos.explore.v1 import feed_pb2


def page(*places: tuple[int, int]) -> feed_pb2.GetFeedResponse:
    """Items as (media, position)."""
    return feed_pb2.GetFeedResponse(items=[feed_pb2.FeedItem(media_id=m, position=p) for m, p in places])


@pytest.mark.parametrize(
    ("items", "first", "shown", "problem"),
    [
        ([(7, 0), (8, 1)], 0, set(), None),
        ([(7, 2), (8, 3)], 2, {5, 6}, None),
        ([(7, 0)], 0, set(), SHORT),
        ([], 0, set(), SHORT),
        ([(7, 0), (7, 1)], 0, set(), TWICE),
        ([(7, 2), (8, 3)], 2, {5, 8}, AGAIN),
        ([(7, 1), (8, 0)], 0, set(), OUT_OF_ORDER),
        ([(7, 1), (8, 2)], 0, set(), OUT_OF_ORDER),
        ([(7, 0), (8, 0)], 0, set(), OUT_OF_ORDER),
    ],
)
def test_a_page_is_full_new_and_in_order(
    items: list[tuple[int, int]], first: int, shown: set[int], problem: str | None
) -> None:
    assert problem_of(page(*items), 2, first, shown) == problem


@pytest.mark.parametrize("reason", feed_pb2.DegradationReason.values())
def test_only_finding_little_is_no_degradation(reason: feed_pb2.DegradationReason) -> None:
    found = feed_pb2.GetFeedResponse(degradations=[feed_pb2.Degradation(stage="rank", reason=reason)])
    assert is_degraded(found) == (reason != feed_pb2.DEGRADATION_REASON_UNDER_DELIVERED)
