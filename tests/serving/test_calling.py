"""One call to several replicas, over real channels: spread, retried, hedged, given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from serving.call_policy import BreakerPolicy, CallPolicy
from serving.calling import StageCalls
from serving.channels import RankCalls, StageConnection
from serving.errors import BundleNotHeld, CallError, DeadlineExceeded, Overloaded, StageFailed, Unavailable
from serving.interceptors import PUSHBACK
from serving.testing import FakeClock
from tests.serving.batches import rank_request
from tests.serving.doubles import Answer
from tests.serving.replicas import NO_HEDGES, Replica, all_rows, connected, hang, running

TIMEOUT_S = 10.0
EAGER = CallPolicy(hedge_after_calls=2, extra_floor=100, batch_users=1)
REQUEST = rank_request([[1.0]])


def rank_on(channel: grpc.aio.Channel) -> Callable[..., Awaitable[RankResponse]]:
    """The method under test."""
    method: Callable[..., Awaitable[RankResponse]] = RankingServiceStub(channel).Rank
    return method


def refusing(status: grpc.StatusCode, pushback: str | None = None) -> Answer:
    async def answer(request: RankRequest, context: Any) -> RankResponse:
        if pushback is not None:
            context.set_trailing_metadata(((PUSHBACK, pushback),))
        await context.abort(status, "because")
        return RankResponse()

    return answer


async def rank(connection: StageConnection, timeout_s: float = TIMEOUT_S) -> RankResponse:
    return await RankCalls(connection, "rank").rank(REQUEST, timeout_s)


def seen(*replicas: Replica) -> list[int]:
    return [len(replica.requests) for replica in replicas]


async def test_every_replica_gets_its_share() -> None:
    replicas = [Replica(), Replica(), Replica()]
    async with running(*replicas) as addresses, connected(addresses) as connection:
        for _ in range(9):
            await rank(connection)
    assert seen(*replicas) == [3, 3, 3]


async def test_a_replica_that_is_busy_gets_less() -> None:
    busy, free = Replica(hang), Replica()
    async with running(busy, free) as addresses, connected(addresses) as connection:
        while not busy.requests:
            stuck = asyncio.create_task(rank(connection))
            await asyncio.wait([stuck, asyncio.create_task(busy.entered.wait())], return_when=asyncio.FIRST_COMPLETED)
        before = len(free.requests)
        for _ in range(5):
            await rank(connection)
        stuck.cancel()
    assert (len(busy.requests), len(free.requests) - before) == (1, 5)


async def test_a_call_that_is_lost_is_made_again_elsewhere() -> None:
    lost, good = Replica(refusing(grpc.StatusCode.UNAVAILABLE)), Replica()
    async with running(lost, good) as addresses, connected(addresses) as connection:
        for _ in range(4):
            assert (await rank(connection)).offsets == [0, 1]
    assert connection.calls.counts.retries == len(lost.requests) > 0
    assert len(good.requests) == 4


async def test_a_lone_replica_is_asked_once_more_and_not_a_third_time() -> None:
    lost = Replica(refusing(grpc.StatusCode.UNAVAILABLE))
    async with running(lost) as addresses, connected(addresses) as connection:
        with pytest.raises(Unavailable, match="rank is unavailable: because"):
            await rank(connection)
    assert seen(lost) == [2]


async def test_a_retry_has_what_is_left_of_the_time() -> None:
    remaining, clock = list[float](), FakeClock()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        remaining.append(context.time_remaining())
        clock.advance(30.0)
        if len(remaining) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "once")
        return await all_rows(request, context)

    async with running(Replica(answer)) as addresses, connected(addresses) as connection:
        calls = StageCalls("rank", connection.replicas, NO_HEDGES, clock)
        await calls.call(rank_on, REQUEST, 60.0)
    assert remaining[1] < 31.0 < remaining[0]


@pytest.mark.parametrize(
    ("status", "pushback", "error"),
    [
        (grpc.StatusCode.INTERNAL, None, StageFailed),
        (grpc.StatusCode.INVALID_ARGUMENT, None, StageFailed),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None, DeadlineExceeded),
        (grpc.StatusCode.FAILED_PRECONDITION, None, BundleNotHeld),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None, Overloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "-1", Overloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "soon", Overloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "3600000", Overloaded),  # longer than the call has
        (grpc.StatusCode.UNAVAILABLE, "-1", Unavailable),
    ],
)
async def test_nothing_else_is_made_again(
    status: grpc.StatusCode, pushback: str | None, error: type[CallError]
) -> None:
    replicas = [Replica(refusing(status, pushback)), Replica(refusing(status, pushback))]
    async with running(*replicas) as addresses, connected(addresses) as connection:
        with pytest.raises(error):
            await rank(connection)
    assert sum(seen(*replicas)) == 1


async def test_one_that_sheds_load_and_says_when_to_come_back_is_asked_again() -> None:
    shedding, good = Replica(refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, "1")), Replica()
    async with running(shedding, good) as addresses, connected(addresses) as connection:
        for _ in range(2):
            await rank(connection)
    assert seen(shedding, good) == [1, 2]


async def test_retries_end_where_the_budget_ends() -> None:
    policy = NO_HEDGES.model_copy(update={"extra_floor": 2, "extra_share": 0.0})
    replicas = [Replica(refusing(grpc.StatusCode.UNAVAILABLE)) for _ in range(2)]
    async with running(*replicas) as addresses, connected(addresses, policy) as connection:
        for _ in range(4):
            with pytest.raises(Unavailable):
                await rank(connection)
    assert (connection.calls.counts.retries, sum(seen(*replicas))) == (2, 6)


async def test_when_all_endpoints_are_known_to_fail_no_call_is_made_and_the_error_says_so() -> None:
    breaker = BreakerPolicy(failures_in_a_row=1, open_s=3600, max_open_s=3600)
    replicas = [Replica(refusing(grpc.StatusCode.UNAVAILABLE)) for _ in range(2)]
    policy = NO_HEDGES.model_copy(update={"breaker": breaker})
    async with running(*replicas) as addresses, connected(addresses, policy) as connection:
        with pytest.raises(Unavailable, match="because"):
            await rank(connection)
        with pytest.raises(Unavailable, match=r"rank is unavailable: 2 of 2 endpoints open, last error of .*: because"):
            await rank(connection)
        assert seen(*replicas) == [1, 1]
        assert (connection.snapshot()["usable_endpoints"], connection.snapshot()["endpoints"]) == (0, 2)


async def test_a_probe_brings_an_endpoint_back() -> None:
    breaker = BreakerPolicy(failures_in_a_row=1, open_s=1e-9, max_open_s=1e-9)
    replica = Replica(refusing(grpc.StatusCode.UNAVAILABLE))
    policy = NO_HEDGES.model_copy(update={"breaker": breaker, "extra_floor": 0})
    async with running(replica) as addresses, connected(addresses, policy) as connection:
        with pytest.raises(Unavailable):
            await rank(connection)
        replica.answer = all_rows
        await rank(connection)
        assert connection.replicas.trouble() == ""


async def test_an_endpoint_that_answers_late_again_and_again_is_left_alone() -> None:
    breaker = BreakerPolicy(window_calls=3, open_s=3600, max_open_s=3600)
    policy = NO_HEDGES.model_copy(update={"breaker": breaker})
    async with running(Replica(hang)) as addresses, connected(addresses, policy) as connection:
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await rank(connection, 0.02)
        with pytest.raises(Unavailable, match=r"1 of 1 endpoints open, last error of .*: no answer within"):
            await rank(connection)


async def test_callers_in_a_hurry_are_no_reason_to_leave_an_endpoint_alone() -> None:
    clock = FakeClock()

    async def one_second(request: RankRequest, context: Any) -> RankResponse:
        clock.advance(1.0)
        return await all_rows(request, context)

    replica = Replica(one_second)
    policy = NO_HEDGES.model_copy(update={"hedge_after_calls": 1})
    async with running(replica) as addresses, connected(addresses, policy) as connection:
        calls = StageCalls("rank", connection.replicas, policy, clock)
        await calls.call(rank_on, REQUEST, TIMEOUT_S)
        replica.answer = hang
        for timeout_s in [1e-3] * 40 + [0.02] * 6:  # more than one in a row, and enough to change what is usual
            with pytest.raises(DeadlineExceeded):
                await calls.call(rank_on, REQUEST, timeout_s)
        assert connection.replicas.trouble() == ""


async def _warm(connection: StageConnection) -> None:
    """Until the usual duration is known."""
    for _ in range(EAGER.hedge_after_calls):
        await rank(connection)


async def test_a_call_that_takes_unusually_long_is_also_made_elsewhere_and_the_slow_one_is_cancelled() -> None:
    replicas = [Replica(), Replica()]
    async with running(*replicas) as addresses, connected(addresses, EAGER) as connection:
        await _warm(connection)
        replicas[0].answer = hang
        counts = connection.calls.counts
        while not counts.hedges_won:  # every other call begins at the slow replica
            assert (await rank(connection)).offsets == [0, 1]
        await replicas[0].cancelled.wait()
        assert counts.hedges_won <= counts.hedges
        assert counts.retries == 0


async def test_hedges_end_where_the_budget_ends() -> None:
    policy = EAGER.model_copy(update={"extra_floor": 0, "extra_share": 0.0})
    replicas = [Replica(), Replica()]
    async with running(*replicas) as addresses, connected(addresses, policy) as connection:
        await _warm(connection)
        for replica in replicas:
            replica.answer = hang
        with pytest.raises(DeadlineExceeded):
            await rank(connection, 0.2)
        assert connection.calls.counts.hedges == 0


async def test_a_hedged_call_is_not_retried_as_well() -> None:
    replicas = [Replica(), Replica()]
    arrived = asyncio.Barrier(2)

    async def both_then_lost(request: RankRequest, context: Any) -> RankResponse:
        await arrived.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "both")
        return RankResponse()

    async with running(*replicas) as addresses, connected(addresses, EAGER) as connection:
        await _warm(connection)
        before = sum(seen(*replicas))
        for replica in replicas:
            replica.answer = both_then_lost
        with pytest.raises(Unavailable, match="both"):
            await rank(connection)
        assert sum(seen(*replicas)) - before == 2


async def test_a_replica_that_keeps_losing_to_hedges_is_left_alone() -> None:
    breaker = BreakerPolicy(window_calls=4, open_s=3600, max_open_s=3600)
    policy = EAGER.model_copy(update={"breaker": breaker})
    replicas = [Replica(), Replica()]
    async with running(*replicas) as addresses, connected(addresses, policy) as connection:
        await _warm(connection)
        replicas[0].answer = hang
        calls = 0
        while not connection.replicas.trouble():
            await rank(connection)
            calls += 1
            assert calls < 100
        assert "answered first" in connection.replicas.trouble()


async def test_a_caller_that_gives_up_ends_both_of_a_hedged_call() -> None:
    replicas = [Replica(), Replica()]
    async with running(*replicas) as addresses, connected(addresses, EAGER) as connection:
        await _warm(connection)
        for replica in replicas:
            replica.answer = hang
            replica.entered.clear()
        call = asyncio.create_task(rank(connection))
        for replica in replicas:
            await replica.entered.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for replica in replicas:
            await replica.cancelled.wait()


async def test_closing_under_a_call_is_no_cancellation_of_its_caller() -> None:
    replica = Replica(hang)
    async with running(replica) as addresses:
        async with connected(addresses) as connection:
            call = asyncio.create_task(rank(connection))
            await replica.entered.wait()
        with pytest.raises(Unavailable, match="channel was closed"):
            await call
