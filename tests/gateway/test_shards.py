"""Retrieval in shards as the gateway asks it: real services on real channels, lost, back again, or not what they should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.shards import shard_of
from gateway.config import StagePlan
from gateway.fallback import POPULAR_SOURCE, PopularMedia
from gateway.feed import Reason, Standing
from gateway.shards import Retrieval
from gateway.stage_bundles import Endpoint, StageBundles
from gateway.stages import Call, SourcingStage
from gateway.trace import Trace
from gateway.users import FeedUser
from retrieval_svc.__main__ import build
from retrieval_svc.config import RetrievalConfig
from serving.call_policy import CallPolicy
from serving.channels import RetrievalClient, StageConnection
from serving.deadline import Budget
from serving.errors import DeadlineExceeded
from serving.server import ServerHandle
from serving.telemetry import CALL, MemoryTelemetry
from serving.wire import RetrieveAsk, Sourced
from tests.gateway.feeds import feed_request
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOW, hand_made, likes, user

ELIGIBLE = sorted(set(hand_made().media_id_M.tolist()) - {402})
QUERY = "similar = user.liked().account_nn().posted_media().rank()\ntrending = user.trending()\n"
PLAN = StagePlan(keep=50, share=1.0)


class ShardServer:
    """One retrieval service. Settings may be changed before it starts again, on the same port."""

    def __init__(self, directory: Path, index: int, count: int) -> None:
        (directory / f"{index}.igql").write_text(QUERY + "mix(similar=0.5, trending=0.5)")
        self.config = RetrievalConfig(
            listen="127.0.0.1:0",
            bundle_root=directory / "bundles",
            igql_file=directory / f"{index}.igql",
            igql_directory=directory / f"queries-{index}",
            shard_index=index,
            shard_count=count,
            drain_s=0.01,
        )
        self.telemetry = MemoryTelemetry()
        self._server: ServerHandle | None = None

    async def start(self) -> None:
        self._server = ServerHandle(self.config, build(self.config, self.telemetry), self.telemetry)
        await self._server.start()
        await self._server.ready.wait()
        self.config = self.config.model_copy(update={"listen": f"127.0.0.1:{self._server.port}"})

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def calls(self) -> int:
        return sum(line.count for line in self.telemetry.snapshot() if line.measure == CALL.name)


class Sharded:
    """Shards, and what the gateway makes of them."""

    def __init__(self, servers: Sequence[ShardServer], version: str, policy: CallPolicy) -> None:
        self.servers, self.version = servers, version
        self.connections = [
            StageConnection(f"retrieval/{number}", server.config.listen, policy, 1 << 24)
            for number, server in enumerate(servers)
        ]
        retrieval = Retrieval([RetrievalClient(each, each.stage) for each in self.connections])
        self.stage = SourcingStage(PLAN, retrieval, PopularMedia.from_items(hand_made()))

    async def source(self, query: str = "", page_size: int = 4, name: str = "ann") -> tuple[Standing, Trace]:
        contexts = user(name, history=likes(100, 301))
        request = replace(feed_request(page_size=page_size), time_ms=NOW)
        trace = Trace(debug=True)
        known = FeedUser(contexts, np.empty(0, dtype=np.int64))
        call = Call(request, known, {}, self.version, Budget(20), trace, query)
        return await self.stage.source(call), trace

    async def connected(self) -> None:
        for connection in self.connections:
            for _, channel in connection.replicas.endpoints():
                await channel.channel_ready()


@pytest.fixture
async def sharded(tmp_path: Path) -> AsyncIterator[Sharded]:
    bundle = await asyncio.to_thread(publish, tmp_path / "bundles")
    async with AsyncExitStack() as stack:
        servers = [ShardServer(tmp_path, index, 2) for index in range(2)]
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        made = Sharded(servers, bundle.version, CallPolicy())
        for connection in made.connections:
            stack.push_async_callback(connection.close)
        yield made


def ids(standing: Standing) -> list[int]:
    found: list[int] = standing.candidates.media_id_N.tolist()
    return found


def flagged(trace: Trace) -> list[tuple[str, Reason]]:
    return [(entry.stage, entry.reason) for entry in trace.degradations]


async def test_two_shards_answer_as_one_and_are_asked_once_each(sharded: Sharded) -> None:
    standing, trace = await sharded.source()
    assert sorted(ids(standing)) == ELIGIBLE
    assert flagged(trace) == []
    assert [server.calls() for server in sharded.servers] == [1, 1]
    reports = {report.source: report for report in trace.sources}
    assert reports.keys() == {"similar", "trending"}
    for report in reports.values():
        assert report.proposed == report.kept + sum(report.dropped.values())
        assert report.path.endswith(" > mix")
    assert sum(report.kept for report in reports.values()) == len(ids(standing))
    assert reports["trending"].dropped["not_recommendable"] == 1


async def test_a_shard_that_is_lost_is_missing_and_said_until_it_is_back(sharded: Sharded) -> None:
    await sharded.source()
    await sharded.servers[1].stop()
    standing, trace = await sharded.source()
    assert len(ids(standing)) >= 4  # the page is full
    assert set(shard_of(standing.candidates.author_id_N, 2).tolist()) == {0}
    assert flagged(trace) == [("retrieval", Reason.PARTIAL)]
    assert "shard 1 of 2: retrieval/1 is unavailable" in trace.degradations[0].detail
    await sharded.servers[1].start()
    await sharded.connected()
    standing, trace = await sharded.source()
    assert (sorted(ids(standing)), flagged(trace)) == (ELIGIBLE, [])


class Hanging(RetrievalClient):
    """A shard that takes all the time that it is given."""

    async def retrieve(self, ask: RetrieveAsk, timeout_s: float) -> Sourced:
        raise DeadlineExceeded(self.stage, timeout_s)


async def test_a_shard_that_hangs_is_told_as_time_lost_which_admission_does_not_take_for_load(sharded: Sharded) -> None:
    first, second = sharded.connections
    clients = [RetrievalClient(first, first.stage), Hanging(second, second.stage)]
    sharded.stage = SourcingStage(PLAN, Retrieval(clients), PopularMedia.from_items(hand_made()))
    standing, trace = await sharded.source()
    assert set(shard_of(standing.candidates.author_id_N, 2).tolist()) == {0}
    assert flagged(trace) == [("retrieval", Reason.DEADLINE)]
    assert "shard 1 of 2" in trace.degradations[0].detail


async def test_without_any_shard_there_are_popular_media(sharded: Sharded) -> None:
    for server in sharded.servers:
        await server.stop()
    standing, trace = await sharded.source()
    assert standing.candidates.sources == (POPULAR_SOURCE,)
    assert flagged(trace) == [("retrieval", Reason.UNAVAILABLE)]


@pytest.mark.parametrize(("index", "count"), [(1, 3), (0, 2), (0, 1)])
async def test_a_service_that_is_another_shard_is_refused(sharded: Sharded, index: int, count: int) -> None:
    server = sharded.servers[1]
    await server.stop()
    server.config = server.config.model_copy(update={"shard_index": index, "shard_count": count})
    await server.start()
    await sharded.connected()
    standing, trace = await sharded.source()
    assert set(shard_of(standing.candidates.author_id_N, 2).tolist()) == {0}
    assert flagged(trace) == [("retrieval", Reason.PARTIAL)]
    assert f"says that this is shard {index} of {count}, it is called as shard 1 of 2" in trace.degradations[0].detail


async def test_a_gateway_that_knows_of_no_shards_refuses_one(sharded: Sharded) -> None:
    alone = Retrieval([RetrievalClient(sharded.connections[0])])
    sharded.stage = SourcingStage(PLAN, alone, PopularMedia.from_items(hand_made()))
    standing, trace = await sharded.source()
    assert standing.candidates.sources == (POPULAR_SOURCE,)
    assert "says that this is shard 0 of 2, it is called as shard 0 of 1" in trace.degradations[0].detail


async def test_while_a_changed_query_spreads_the_first_shard_decides(sharded: Sharded) -> None:
    sharded.servers[1].config.igql_file.write_text(QUERY + "mix(similar=0.1, trending=0.9)")
    standing, trace = await sharded.source()
    assert set(shard_of(standing.candidates.author_id_N, 2).tolist()) == {0}
    assert flagged(trace) == [("retrieval", Reason.PARTIAL)]
    assert "is of another query than that of shard 0 of 2" in trace.degradations[0].detail
    sharded.servers[0].config.igql_file.write_text(QUERY + "mix(similar=0.1, trending=0.9)")
    assert flagged((await sharded.source())[1]) == []


async def test_a_query_that_one_shard_does_not_know_is_replaced_for_all(sharded: Sharded) -> None:
    directory = sharded.servers[0].config.igql_directory
    assert directory is not None
    directory.mkdir()
    (directory / "new.igql").write_text("new = user.fresh(max_age=30d)\nnew")
    standing, trace = await sharded.source("new")
    assert standing.candidates.sources == ("similar", "trending")
    assert sorted(ids(standing)) == ELIGIBLE
    assert trace.unserved == {"query"}
    assert "the default query was used instead" in trace.degradations[0].detail


async def test_a_shard_without_the_pinned_bundle_is_named_as_such(sharded: Sharded) -> None:
    sharded.version = "unheard of"
    standing, trace = await sharded.source()
    assert standing.candidates.sources == (POPULAR_SOURCE,)
    assert flagged(trace) == [("retrieval", Reason.BUNDLE_NOT_HELD)]


async def test_requests_at_the_same_time_share_the_calls_to_every_shard(tmp_path: Path) -> None:
    bundle = await asyncio.to_thread(publish, tmp_path / "bundles")
    async with AsyncExitStack() as stack:
        servers = [ShardServer(tmp_path, index, 2) for index in range(2)]
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        made = Sharded(servers, bundle.version, CallPolicy(calls_per_endpoint=1))
        for connection in made.connections:
            stack.push_async_callback(connection.close)
        await made.connected()
        answers = await asyncio.gather(*(made.source(name=f"user-{number}") for number in range(8)))
        assert all(sorted(ids(standing)) == ELIGIBLE for standing, _ in answers)
        assert [each.snapshot()["batched"] for each in made.connections] == [8, 8]
        assert [server.calls() for server in servers] == [1, 1]


async def test_the_shards_of_retrieval_are_asked_which_bundles_they_hold(sharded: Sharded) -> None:
    endpoints = [Endpoint(at.stage, *endpoint) for at in sharded.connections for endpoint in at.replicas.endpoints()]
    gate = StageBundles(lambda: endpoints, patience_s=1)
    await gate.look([sharded.version])
    assert not gate.lack(sharded.version)
    await sharded.servers[1].stop()
    await gate.look([sharded.version])
    assert any("retrieval/1" in name for name in gate.lack(sharded.version).away)
