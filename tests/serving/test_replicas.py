"""Which endpoints a stage has and which of them are used, over real servers and names that change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.call_policy import BreakerPolicy, CallPolicy
from serving.calling import StageCalls
from serving.channels import RankCalls, open_channel
from serving.errors import DeadlineExceeded, Unavailable
from serving.replicas import Lookup, Replicas
from tests.serving.batches import rank_request
from tests.serving.replicas import NO_HEDGES, Replica, all_rows, connected, hang, running, settled

TIMEOUT_S = 10.0
REQUEST = rank_request([[1.0]])
NAME = "dns:///rank.test:1"


class Name:
    """A name whose addresses the test changes."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: list[str] | OSError = list(addresses)
        self.asked = 0
        self.lookups = asyncio.Condition()

    async def resolve(self, host: str, port: int) -> list[str]:
        assert (host, port) == ("rank.test", 1)
        async with self.lookups:
            self.asked += 1
            self.lookups.notify_all()
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return list(self.addresses)

    async def looked_up_again(self) -> None:
        """Returns when a lookup that began after this call has been used."""
        async with self.lookups:
            seen = self.asked
            await self.lookups.wait_for(lambda: self.asked >= seen + 2)


@asynccontextmanager
async def named(name: Name, **policy: float) -> AsyncIterator[tuple[Replicas, StageCalls]]:
    """The replicas behind a name that is looked up all the time."""
    rules = NO_HEDGES.model_copy(update={"resolve_s": 1e-6, **policy})
    replicas = Replicas(NAME, open_channel, rules, lookup=Lookup(name.resolve, soonest_s=1e-6))
    try:
        yield replicas, StageCalls("rank", replicas, rules)
    finally:
        await replicas.close()


async def ask(calls: StageCalls, timeout_s: float = TIMEOUT_S) -> None:
    await calls.call(lambda channel: RankingServiceStub(channel).Rank, REQUEST, timeout_s)


def addresses(replicas: Replicas) -> list[str]:
    return [address for address, _ in replicas.endpoints()]


async def test_every_replica_can_be_asked_for_its_status() -> None:
    async with running(Replica(), Replica()) as listed, connected(listed) as connection:
        assert [address for address, _ in connection.replicas.endpoints()] == listed.split(",")
        for _, channel in connection.replicas.endpoints():
            status = await StatusServiceStub(channel).GetStatus(GetStatusRequest())
            assert status.service == "explore.v1.RankingService"


async def test_one_that_is_not_serving_gets_no_calls_until_it_is() -> None:
    loading, ready = Replica(), Replica()
    async with (
        running(loading, ready=False) as first,
        running(ready) as second,
        connected(f"{first},{second}") as connection,
    ):
        client = RankCalls(connection, "rank")
        for _ in range(4):
            await client.rank(REQUEST, TIMEOUT_S)
        assert (len(loading.requests), len(ready.requests)) == (0, 4)
        assert connection.replicas.trouble() == "1 of 2 endpoints open"
        assert connection.calls.counts.retries == 0


async def test_killed_and_started_again_on_the_same_port_it_is_used_again() -> None:
    victim, other = Replica(), Replica()
    async with running(victim, other) as listed, connected(listed) as connection:
        client = RankCalls(connection, "rank")
        await victim.stop()
        for _ in range(6):
            await client.rank(REQUEST, TIMEOUT_S)
        before = len(victim.requests)
        await victim.start()
        channel = connection.replicas.endpoints()[0][1]
        while await settled(channel) is not grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
        for _ in range(2):
            await client.rank(REQUEST, TIMEOUT_S)
        assert len(victim.requests) > before
        assert connection.replicas.trouble() == ""


async def test_where_nobody_listens_the_first_call_says_why_and_the_breaker_remembers() -> None:
    gone = Replica()
    async with running(gone) as listed:
        pass
    async with connected(listed) as connection:
        client = RankCalls(connection, "rank")
        for _ in range(NO_HEDGES.breaker.failures_in_a_row):
            with pytest.raises(Unavailable, match=r"rank is unavailable: .*Connect"):
                await client.rank(REQUEST, TIMEOUT_S)
        with pytest.raises(Unavailable, match=r"1 of 1 endpoints open, last error of 127\.0\.0\.1:.*Connect"):
            await client.rank(REQUEST, TIMEOUT_S)


async def test_a_connection_that_is_back_is_used_at_once_however_long_the_breaker_would_wait() -> None:
    replica = Replica()
    async with running(replica) as listed:
        await replica.stop()
        breaker = BreakerPolicy(failures_in_a_row=1, open_s=3600, max_open_s=3600)
        async with connected(listed, NO_HEDGES.model_copy(update={"breaker": breaker})) as connection:
            client = RankCalls(connection, "rank")
            for message in ("Connect", "1 of 1 endpoints open"):
                with pytest.raises(Unavailable, match=message):
                    await client.rank(REQUEST, TIMEOUT_S)
            await replica.start()
            ((_, channel),) = connection.replicas.endpoints()
            while await settled(channel) is not grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            await client.rank(REQUEST, TIMEOUT_S)


async def test_addresses_that_come_are_used_and_those_that_go_are_not() -> None:
    old, new = Replica(), Replica()
    async with running(old) as first, running(new) as second:
        name = Name(first)
        async with named(name) as (replicas, calls):
            await ask(calls)
            name.addresses = [second]
            await name.looked_up_again()
            assert addresses(replicas) == [second]
            await ask(calls)
    assert (len(old.requests), len(new.requests)) == (1, 1)


async def test_a_call_to_an_address_that_goes_may_end() -> None:
    gate = asyncio.Event()
    old = Replica()

    async def wait(*of: object) -> object:
        await gate.wait()
        return await all_rows(REQUEST, None)

    old.answer = wait  # type: ignore[assignment]
    async with running(old) as first, running(Replica()) as second:
        name = Name(first)
        async with named(name) as (replicas, calls):
            call = asyncio.create_task(ask(calls))
            await old.entered.wait()
            name.addresses = [second]
            await name.looked_up_again()
            assert addresses(replicas) == [second]
            gate.set()
            await call


async def test_a_call_to_an_address_that_went_does_not_go_on_for_ever() -> None:
    old = Replica(hang)
    async with running(old) as first, running(Replica()) as second:
        name = Name(first)
        async with named(name, drain_s=1e-3) as (_, calls):
            call = asyncio.create_task(ask(calls))
            await old.entered.wait()
            name.addresses = [second]
            await call  # what is cut off is lost, and made again
            await old.cancelled.wait()


async def test_a_name_that_is_lost_keeps_its_last_addresses_and_says_so() -> None:
    async with running(Replica()) as first:
        name = Name(first)
        async with named(name) as (replicas, calls):
            await ask(calls)
            name.addresses = OSError("no such name")
            await name.looked_up_again()
            assert replicas.trouble() == "rank.test cannot be looked up: no such name"
            await ask(calls)


async def test_a_name_that_was_never_found_is_unavailable_at_once() -> None:
    name = Name()
    name.addresses = OSError("no such name")
    async with named(name) as (_, calls):
        with pytest.raises(Unavailable, match=r"rank is unavailable: rank\.test cannot be looked up: no such name"):
            await ask(calls)


async def test_a_name_without_an_address_is_unavailable_until_it_has_one() -> None:
    async with running(Replica()) as first:
        name = Name()
        async with named(name) as (_, calls):
            with pytest.raises(Unavailable, match=r"rank is unavailable: dns:///rank\.test:1 has no address"):
                await ask(calls)
            name.addresses = [first]
            await name.looked_up_again()
            await ask(calls)


async def test_a_call_waits_for_the_first_lookup_as_long_as_it_has_time() -> None:
    async with running(Replica()) as first:
        name, gate = Name(first), asyncio.Event()

        class Slow(Name):
            async def resolve(self, host: str, port: int) -> list[str]:
                await gate.wait()
                return await name.resolve(host, port)

        async with named(Slow()) as (_, calls):
            with pytest.raises(DeadlineExceeded):
                await ask(calls, 0.01)
            call = asyncio.create_task(ask(calls))
            gate.set()
            await call


async def test_failures_have_the_name_looked_up_again_before_its_time() -> None:
    gone, new = Replica(), Replica()
    async with running(gone) as first:
        pass
    async with running(new) as second:
        name = Name(first)
        async with named(name, resolve_s=3600.0) as (replicas, calls):
            await replicas.looked_up.wait()
            name.addresses = [second]
            with pytest.raises(Unavailable):
                await ask(calls)
            while not new.requests:
                try:
                    await ask(calls)
                except Unavailable:
                    await asyncio.sleep(0)


async def test_localhost_is_looked_up_by_the_system() -> None:
    replica = Replica()
    async with running(replica) as listed:
        port = listed.rpartition(":")[2]
        async with connected(f"dns:///localhost:{port}", CallPolicy(batch_users=1)) as connection:
            await RankCalls(connection, "rank").rank(REQUEST, TIMEOUT_S)
    assert len(replica.requests) == 1
