"""What is wrong with a page, and what it was made without. Knows the contract of feed.proto and nothing of this stack's code."""

from __future__ import annotations

from collections.abc import Set

from protos.explore.v1.feed_pb2 import DEGRADATION_REASON_UNDER_DELIVERED, GetFeedResponse

SHORT, TWICE, AGAIN, OUT_OF_ORDER = "short page", "media twice", "media of an earlier page", "positions out of order"


def problem_of(page: GetFeedResponse, size: int, first_position: int, shown: Set[int]) -> str | None:
    """Why this page is a failure, None if it is not. `shown`: media on the pages before it in the same feed."""
    media = [item.media_id for item in page.items]
    if len(media) < size:
        return SHORT
    if len(set(media)) < len(media):
        return TWICE
    if not shown.isdisjoint(media):
        return AGAIN
    if [item.position for item in page.items] != list(range(first_position, first_position + len(media))):
        return OUT_OF_ORDER
    return None


def is_degraded(page: GetFeedResponse) -> bool:
    """Whether the page was made without some part of the stack. One that merely found little is judged by its length."""
    return any(entry.reason != DEGRADATION_REASON_UNDER_DELIVERED for entry in page.degradations)
