"""The port of a server, and what it says when certificates change for the worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.channels import open_channel
from serving.config import ServiceConfig
from serving.ports import Port
from serving.tls import TlsDirectory
from tests.serving.certificates import Authority
from tests.serving.replicas import Replica, running

TIMEOUT_S = 10.0


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
    assert Port(ServiceConfig()).gates == ()
