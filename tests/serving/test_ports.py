"""What a server listens on beside its port, and what the port says when certificates change for the worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.channels import open_channel
from serving.config import ServiceConfig
from serving.errors import BindError
from serving.health import NOT_SERVING, SERVING
from serving.ports import Ports
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from serving.tls import TlsDirectory
from tests.serving.certificates import Authority
from tests.serving.doubles import answering
from tests.serving.replicas import Replica, all_rows, running

TIMEOUT_S = 10.0


async def test_the_port_for_probes_is_plain_and_knows_health_alone(tmp_path: Path) -> None:
    directory = Authority().write(tmp_path / "tls", "rank")
    config = ServiceConfig(listen="127.0.0.1:0", health_listen="127.0.0.1:0", tls_directory=directory, drain_s=0.01)
    server = ServerHandle(config, answering(all_rows), NoTelemetry())
    await server.start()
    await server.ready.wait()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = aiter(health.Watch(health_pb2.HealthCheckRequest(service="explore.v1.RankingService")))
        assert (await anext(watch)).status == SERVING
        status: Any = StatusServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await status.GetStatus(GetStatusRequest(), timeout=TIMEOUT_S)
        assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await server.stop()
        assert (await anext(watch)).status == NOT_SERVING


async def test_a_port_for_probes_that_is_taken_is_named() -> None:
    async with running(Replica()) as taken:
        config = ServiceConfig(listen="127.0.0.1:0", health_listen=taken)
        with pytest.raises(BindError, match=f"cannot listen on {taken}"):
            await ServerHandle(config, answering(all_rows), NoTelemetry()).start()


async def test_refused_certificates_are_in_the_status(tmp_path: Path) -> None:
    authority = Authority()
    stage = authority.write(tmp_path / "stage", "rank")
    caller = TlsDirectory(authority.write(tmp_path / "caller", "gateway"))
    async with running(Replica(tls_directory=stage)) as address:
        (stage / "tls.key").unlink()
        async with open_channel(address, tls=caller) as channel:
            status: Any = StatusServiceStub(channel)
            note = (await status.GetStatus(GetStatusRequest(), timeout=TIMEOUT_S)).note
    assert note.startswith("changed certificates are refused, those before go on:")
    assert "tls.key: No such file" in note


def test_a_server_without_certificates_has_no_gate() -> None:
    assert Ports(ServiceConfig()).gates == ()
