"""The doubles that other tests rely on."""

from __future__ import annotations

import asyncio

from serving.channels import RankCalls
from serving.scorer import PassThroughScorer
from serving.testing import FakeClock, ranking_double, serve
from tests.serving.batches import rank_request


def test_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(5.0)
    assert (clock(), clock()) == (5.0, 5.0)
    clock.advance(0.25)
    assert clock() == 5.25


async def test_two_servers_run_side_by_side() -> None:
    async with (
        serve(ranking_double(PassThroughScorer(), "a")) as a,
        serve(ranking_double(PassThroughScorer(), "b")) as b,
    ):
        calls = [RankCalls(channel, "rank").rank(rank_request([[1.0]]), 5.0) for channel in (a, b)]
        assert [response.bundle_version for response in await asyncio.gather(*calls)] == ["a", "b"]
