"""Who gets through to a stage: real certificates, real connections."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.channels import open_channel
from serving.peers import QUIET_S, PeerGate
from serving.testing import FakeClock
from serving.tls import TlsDirectory
from tests.serving.batches import rank_request
from tests.serving.certificates import DAY, Authority
from tests.serving.replicas import Replica, running

GATEWAY = "spiffe://explore/ns/explore/sa/gateway"
TIMEOUT_S = 10.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def stage(tmp_path: Path, authority: Authority, **settings: Any) -> AsyncIterator[str]:
    """Address of a stage that takes calls of whoever `tls_peers` says, by default the gateway."""
    async with running(Replica(tls_directory=authority.write(tmp_path / "stage", "rank"), **settings)) as address:
        yield address


def caller(tmp_path: Path, address: str, authority: Authority, *names: str) -> grpc.aio.Channel:
    return open_channel(address, tls=TlsDirectory(authority.write(tmp_path / "caller", *names)))


async def rank(channel: grpc.aio.Channel) -> None:
    stub: Any = RankingServiceStub(channel)
    await stub.Rank(rank_request([[1.0]]), timeout=TIMEOUT_S)


async def refusal(channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await rank(channel)
    return failure.value.code(), failure.value.details() or ""


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["gateway"]),
        ({}, ["gateway.explore.svc", "gateway"]),
        ({"tls_peers": [GATEWAY]}, ["gateway-7f9c", GATEWAY]),
        ({"tls_peers": []}, ["whoever"]),
        ({"tls_peers": []}, []),
    ],
)
async def test_a_peer_that_is_named_gets_through(
    tmp_path: Path, authority: Authority, settings: dict[str, Any], names: list[str]
) -> None:
    async with (
        stage(tmp_path, authority, **settings) as address,
        caller(tmp_path, address, authority, *names) as channel,
    ):
        await rank(channel)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["retrieval"], "retrieval may not call /explore.v1.RankingService/Rank"),
        (["gateway.evil.example"], "gateway.evil.example may not"),
        (["*"], r"\* may not"),
        ([GATEWAY + "-other"], "gateway-other may not"),
        ([], "a caller without a DNS or URI name in its certificate may not"),
    ],
)
async def test_a_stranger_is_denied_by_name(tmp_path: Path, authority: Authority, names: list[str], said: str) -> None:
    async with stage(tmp_path, authority, tls_peers=["gateway", GATEWAY]) as address:
        stranger = caller(tmp_path, address, authority, *names)
        status, detail = await refusal(stranger)
        await stranger.close(None)
    assert status is grpc.StatusCode.PERMISSION_DENIED
    assert re.search(said, detail)


async def test_a_stranger_sees_health_but_neither_status_nor_reflection(tmp_path: Path, authority: Authority) -> None:
    async with stage(tmp_path, authority) as address, caller(tmp_path, address, authority, "prometheus") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert (await anext(aiter(watch))).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        stub: Any = StatusServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match=r"prometheus may not call /explore\.v1\.StatusService"):
            await stub.GetStatus(GetStatusRequest(pinned_versions=["x"]), timeout=TIMEOUT_S)
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        with pytest.raises(grpc.aio.AioRpcError, match=r"prometheus may not call .*ServerReflectionInfo"):
            await anext(aiter(reflect.ServerReflectionInfo(asked, timeout=TIMEOUT_S)))


async def test_the_gateway_may_ask_for_reflection(tmp_path: Path, authority: Authority) -> None:
    async with stage(tmp_path, authority) as address, caller(tmp_path, address, authority, "gateway") as channel:
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answer = await anext(aiter(reflect.ServerReflectionInfo(asked, timeout=TIMEOUT_S)))
    assert "explore.v1.RankingService" in [each.name for each in answer.list_services_response.service]


async def test_without_a_good_certificate_there_is_no_connection(tmp_path: Path, authority: Authority) -> None:
    other = Authority("another")
    async with stage(tmp_path, authority) as address:
        expired = TlsDirectory(authority.write(tmp_path / "expired", "gateway", lasts=-DAY))
        async with open_channel(address, tls=expired) as channel:
            assert (await refusal(channel))[0] is grpc.StatusCode.UNAVAILABLE
        certificate, key = other.issue("gateway")  # it believes the server, but the server does not believe it
        credentials = [
            grpc.ssl_channel_credentials(authority.pem, key, certificate),
            grpc.ssl_channel_credentials(authority.pem),  # shows none
        ]
        for each in credentials:
            async with grpc.aio.secure_channel(address, each) as channel:
                assert (await refusal(channel))[0] is grpc.StatusCode.UNAVAILABLE
        async with open_channel(address) as channel:  # plain
            assert (await refusal(channel))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_caller_believes_no_server_of_another_authority_name_or_time(
    tmp_path: Path, authority: Authority
) -> None:
    files = TlsDirectory(authority.write(tmp_path / "caller", "gateway"))
    foreign = Authority().write(tmp_path / "foreign", "rank")
    async with running(Replica(tls_directory=foreign)) as address, open_channel(address, tls=files) as channel:
        assert "Tls handshake failed" in (await refusal(channel))[1]
    expired = authority.write(tmp_path / "expired", "rank", lasts=-DAY)
    async with running(Replica(tls_directory=expired)) as address, open_channel(address, tls=files) as channel:
        assert "certificate has expired" in (await refusal(channel))[1]
    async with stage(tmp_path, authority) as address, open_channel(address, "rerank", tls=files) as channel:
        assert "Hostname Verification Check failed" in (await refusal(channel))[1]


class Stranger:
    """The context of a call."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"peer_dns": [b"x", b"\xff"]}


def test_strangers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    gate = PeerGate(["gateway"], clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            with pytest.raises(Exception, match="x, \ufffd may not call /a/b"):
                gate.admit("/a/b", b"", Stranger())
        assert [record.caller for record in caplog.records] == ["x, \ufffd"]  # type: ignore[attr-defined]
        clock.advance(QUIET_S)
        with pytest.raises(Exception, match="may not call"):
            gate.admit("/a/b", b"", Stranger())
    assert len(caplog.records) == 2
