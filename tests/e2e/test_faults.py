"""A stack that loses its parts one after the other: every page is full, and says what was lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import grpc
import pytest

from cli import processes
from protos.explore.v1.feed_pb2 import GetFeedResponse
from tests.e2e.conftest import Served


@pytest.fixture(scope="module")
def breaking(start_stack: Callable[..., Served]) -> Served:
    return start_stack()


def test_popular_media_are_ranked_as_usual_when_only_retrieval_is_lost(start_stack: Callable[..., Served]) -> None:
    served = start_stack()
    _kill(served, "retrieval_svc")
    page = served.page("42", debug=True)
    assert (len(page.items), _lost(page)) == (25, {"retrieval"})
    assert all(item.source == "popular_fallback" and item.HasField("value") for item in page.items)
    on_page = {item.media_id for item in page.items}
    assert all((candidate.media_id in on_page) == (candidate.dropped == "") for candidate in page.debug.candidates)


def _kill(served: Served, name: str) -> None:
    process = next(process for process in served.stack.processes if process.name == name)
    os.kill(process.pid, signal.SIGKILL)
    processes.stop([process], grace_s=10)


def _lost(page: GetFeedResponse) -> set[str]:
    return {degradation.stage for degradation in page.degradations}


# The order of these tests is the order of the losses: each one adds to those before.


def test_whole_stack(breaking: Served) -> None:
    page = breaking.page("42")
    assert (len(page.items), _lost(page)) == (25, set())


def test_without_rerank_the_page_shows_ranks_probabilities(breaking: Served) -> None:
    _kill(breaking, "rerank_svc")
    page = breaking.page("42")
    assert (len(page.items), _lost(page)) == (25, {"rerank"})
    assert all(item.HasField("value") and item.task_probabilities for item in page.items)


def test_without_rank_no_value_is_claimed(breaking: Served) -> None:
    _kill(breaking, "rank_svc")
    page = breaking.page("42", debug=True)
    assert (len(page.items), _lost(page)) == (25, {"rank", "rerank"})
    assert not any(item.HasField("value") for item in page.items)


def test_without_prerank_sourcings_order_stays(breaking: Served) -> None:
    _kill(breaking, "prerank_svc")
    page = breaking.page("42")
    assert (len(page.items), _lost(page)) == (25, {"prerank", "rank", "rerank"})


def test_without_retrieval_the_gateway_has_popular_media(breaking: Served) -> None:
    _kill(breaking, "retrieval_svc")
    page = breaking.page("42")
    assert _lost(page) == {"retrieval", "prerank", "rank", "rerank"}
    assert [item.source for item in page.items] == ["popular_fallback"] * 25


def test_without_valkey_there_is_still_a_page_and_its_next_page_repeats_nothing(breaking: Served) -> None:
    _kill(breaking, "valkey")
    first = breaking.page("42")
    second = breaking.page("42", page_token=first.next_page_token)
    assert ("user_state" in _lost(first), first.cold_start, len(first.items)) == (True, True, 25)
    assert {item.media_id for item in first.items}.isdisjoint(item.media_id for item in second.items)


def test_without_the_gateway_there_is_nothing(breaking: Served) -> None:
    _kill(breaking, "gateway")
    with pytest.raises(grpc.RpcError):
        breaking.page("42")
