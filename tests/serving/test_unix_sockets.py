"""Services of one machine over sockets in the file system."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.call_policy import CallPolicy
from serving.channels import RankCalls, StageConnection
from serving.config import ServiceConfig
from serving.errors import BindError
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from serving.unix_sockets import is_taken
from tests.serving.doubles import answering


async def hello(request: RankRequest, context: Any) -> RankResponse:
    return RankResponse(bundle_version=request.bundle_version)


def server_on(address: str) -> ServerHandle:
    return ServerHandle(ServiceConfig(listen=address, drain_s=0.01), answering(hello), NoTelemetry())


async def test_a_stage_is_called_over_a_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/rank.sock"
    server = server_on(address)
    await server.start()
    await server.ready.wait()
    connection = StageConnection("rank", address, CallPolicy(), 1 << 20)
    answer = await RankCalls(connection, "rank").rank(RankRequest(bundle_version="v7"), 5.0)
    assert answer.bundle_version == "v7"
    assert connection.snapshot()["usable_endpoints"] == 1
    await connection.close()
    await server.stop()


async def test_a_socket_that_somebody_listens_on_is_not_taken_away(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/rank.sock"
    first, second = server_on(address), server_on(address)
    await first.start()
    with pytest.raises(BindError, match="another server does"):
        await second.start()
    assert is_taken(address)
    await first.stop()
    assert not is_taken(address)


async def test_what_a_killed_server_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "rank.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.exists()
    server = server_on(f"unix:{path}")
    await server.start()
    assert is_taken(f"unix:{path}")
    await server.stop()


async def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"nowhere/rank\.sock"):
        await server_on(f"unix:{tmp_path}/nowhere/rank.sock").start()


def test_host_and_port_are_no_socket() -> None:
    assert not is_taken("127.0.0.1:1")
