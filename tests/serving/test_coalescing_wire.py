"""Shared calls over real connections."""

from __future__ import annotations

import asyncio
from typing import Any

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.call_policy import BreakerPolicy
from serving.channels import RankingClient
from serving.errors import DeadlineExceeded
from serving.holder import Holder
from serving.ranking import RankingServicer
from serving.scorer import Scorer
from serving.telemetry import NoTelemetry
from tests.serving.batches import same_answer
from tests.serving.doubles import TasteScorer
from tests.serving.replicas import Replica, all_rows, connected, hang, running
from tests.serving.test_coalescing import BATCHING, TIMEOUT_S, asking, settle


async def test_over_the_wire_a_shared_answer_is_that_of_a_call_alone() -> None:
    requests = [asking(f"user-{n}", rows=n) for n in range(20)]
    scorers = Holder[Scorer]()
    scorers.put("v1", TasteScorer())
    servicer = RankingServicer("rank", scorers, NoTelemetry())
    async with running(Replica(servicer.Rank)) as address, connected(address, BATCHING) as connection:
        client = RankingClient(connection, "rank")
        alone = [await client.rank(request, TIMEOUT_S) for request in requests]
        assert connection.snapshot()["batches"] == 0
        shared = await asyncio.gather(*(client.rank(request, TIMEOUT_S) for request in requests))
        snapshot = connection.snapshot()
    await servicer.close()
    for mine, theirs in zip(alone, shared, strict=True):
        same_answer(mine, theirs)
    assert (snapshot["batched"], snapshot["batches"], snapshot["calls"]) == (20, 2, 22)  # of 16 users, and of 4


async def test_an_endpoint_that_lets_a_shared_call_run_out_of_time_is_blamed_for_it() -> None:
    """The callers' time ends with the call's. If the last of them took the call along, nobody would know that it was late."""
    replica = Replica(hang)
    policy = BATCHING.model_copy(update={"breaker": BreakerPolicy(failures_in_a_row=3, open_s=60, max_open_s=60)})
    async with running(replica) as address, connected(address, policy) as connection:
        client = RankingClient(connection, "rank")
        for _ in range(3):
            asked = (client.rank(asking(name), 0.05) for name in "abc")
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, DeadlineExceeded) for answer in answers)
        async with asyncio.timeout(TIMEOUT_S):
            while "1 of 1 endpoints open" not in connection.replicas.trouble():  # the last word on a call is gRPC's
                await settle()


async def test_a_shared_call_is_cancelled_on_the_wire_when_all_its_callers_have_gone() -> None:
    release = asyncio.Event()

    async def wait(request: RankRequest, context: Any) -> RankResponse:
        await release.wait()
        return await all_rows(request, context)

    replica = Replica(wait)
    async with running(replica) as address, connected(address, BATCHING) as connection:
        client = RankingClient(connection, "rank")
        calls = [asyncio.create_task(client.rank(asking("a"), TIMEOUT_S))]
        await replica.entered.wait()
        replica.entered.clear()
        calls += [asyncio.create_task(client.rank(asking(name), TIMEOUT_S)) for name in "bc"]
        await settle()
        replica.answer = hang
        release.set()
        await calls[0]
        await replica.entered.wait()
        assert [user.user_id for user in replica.requests[1].users] == ["b", "c"]
        for call in calls[1:]:
            call.cancel()
        await replica.cancelled.wait()
