"""Services in one process: who is a neighbour, and the process as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from colocated.__main__ import Neighbours
from serving.config import ServiceConfig
from serving.health import LIVE
from serving.local_channel import LocalChannel
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry


async def test_a_neighbour_is_called_directly_and_a_stranger_over_the_network(tmp_path: Path) -> None:
    config = ServiceConfig(listen=f"unix:{tmp_path}/rank.sock", drain_s=0.01)
    server, neighbours = ServerHandle(config, Service(("a.B",), lambda _: None), NoTelemetry()), Neighbours()
    await server.start()
    neighbours.add(config, server)
    assert isinstance(neighbours.open_channel(config.listen, 1 << 20), LocalChannel)
    async with neighbours.open_channel("127.0.0.1:9", 1 << 20) as stranger:
        assert isinstance(stranger, grpc.aio.Channel)
    await server.stop()


async def test_one_that_listens_everywhere_is_a_neighbour_at_this_machines_own_addresses() -> None:
    neighbours = Neighbours()
    for listen in ("[::]:50053", "127.0.0.1:50054"):
        config = ServiceConfig(listen=listen)
        neighbours.add(config, ServerHandle(config, Service(("a.B",), lambda _: None), NoTelemetry()))
    for near in ("127.0.0.1:50053", "[::1]:50053", "localhost:50053", "[::]:50053", "127.0.0.1:50054"):
        assert isinstance(neighbours.open_channel(near), LocalChannel), near
    for far in ("127.0.0.1:50055", "10.0.0.1:50053", "localhost:50054"):
        async with neighbours.open_channel(far) as stranger:
            assert isinstance(stranger, grpc.aio.Channel), far


def test_every_service_has_its_own_health_and_one_signal_ends_all(tmp_path: Path) -> None:
    """Without a bundle they wait, and say so at every port, and at that of the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        health = f"127.0.0.1:{free.getsockname()[1]}"
    sockets = {name: f"unix:{tmp_path}/{name}.sock" for name in ("rank", "rerank")}
    environment = {
        **os.environ,
        "EXPLORE_SERVICES": '["rank_svc", "rerank_svc"]',
        "EXPLORE_BUNDLE_ROOT": str(tmp_path / "bundles"),
        "EXPLORE_HEALTH_LISTEN": health,
        **{f"EXPLORE_{name.upper()}_LISTEN": address for name, address in sockets.items()},
    }
    process = subprocess.Popen([sys.executable, "-m", "colocated"], env=environment, stderr=subprocess.DEVNULL)
    try:
        for address in (*sockets.values(), health):
            with grpc.insecure_channel(address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60, wait_for_ready=True)
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
                alive = stub.Check(health_pb2.HealthCheckRequest(service=LIVE), timeout=60)
                assert alive.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_a_wrong_list_of_services_ends_the_process_with_its_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colocated"],
        env={**os.environ, "EXPLORE_SERVICES": '["rank_svc", "nobody"]'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "EXPLORE_SERVICES" in done.stderr
