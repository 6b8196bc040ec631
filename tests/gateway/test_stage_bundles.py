"""What the gateway learns of the versions that stages hold, from real servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc
import pytest

from gateway.stage_bundles import Endpoint, StageBundles
from serving.bundle_follower import Lack
from serving.channels import open_channel
from serving.holder import Holder
from serving.server import Service
from serving.testing import FakeClock, serve
from tests.serving.doubles import raising


@pytest.fixture
async def servers() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def holding(*versions: str) -> Service:
    return replace(raising(NotImplementedError()), versions=lambda: list(versions))


async def endpoint(servers: AsyncExitStack, service: Service, address: str = ":1") -> Endpoint:
    return Endpoint("rank", address, await servers.enter_async_context(serve(service)))


async def test_who_answers_and_lacks_a_version_is_told_from_who_is_away(servers: AsyncExitStack) -> None:
    both = await endpoint(servers, holding("v2", "v1"), ":1")
    old = await endpoint(servers, holding("v1"), ":2")
    nobody = Endpoint("rerank", ":3", await servers.enter_async_context(open_channel("127.0.0.1:1")))
    gate = StageBundles(lambda: [both, old, nobody], patience_s=5.0)
    await gate.look([])
    assert gate.lack("v1") == Lack((), ("rerank :3",))
    assert gate.lack("v2") == Lack(("rank :2",), ("rerank :3",))
    assert str(gate.lack("v2")) == "rank :2, rerank :3 (does not answer)"


async def test_every_look_asks_the_replicas_there_are_by_then(servers: AsyncExitStack) -> None:
    endpoints = [await endpoint(servers, holding("v1"), ":1")]
    gate = StageBundles(lambda: endpoints, patience_s=5.0)
    assert not gate.lack("v2")  # nobody was asked yet
    await gate.look([])
    assert gate.lack("v2").without == ("rank :1",)
    endpoints[:] = [await endpoint(servers, holding("v2"), ":2")]
    await gate.look([])
    assert not gate.lack("v2")


async def test_stages_keep_a_version_for_as_long_as_a_gateway_says_that_it_pins_it(servers: AsyncExitStack) -> None:
    clock = FakeClock()
    holder = Holder[str](10.0, clock)
    for version in ("v1", "v2"):
        holder.put(version, version)

    stage = replace(raising(NotImplementedError()), versions=holder.versions, pin=holder.pin)
    one = await endpoint(servers, stage)
    gate = StageBundles(lambda: [one], patience_s=5.0)
    for number in range(3, 6):
        await gate.look(["v1"])
        clock.advance(9.0)
        holder.put(f"v{number}", "")
    assert "v1" in holder.versions()
    clock.advance(2.0)
    holder.keep([])
    assert "v1" not in holder.versions()


async def test_a_channel_that_is_dropped_while_it_is_asked_is_away() -> None:
    """As when an address vanishes, or a certificate is renewed."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        channel = open_channel(f"127.0.0.1:{silent.getsockname()[1]}")
        gate = StageBundles(lambda: [Endpoint("rank", ":1", channel)], patience_s=5.0)
        look = asyncio.create_task(gate.look([]))
        await channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE)  # the question has opened it
        await channel.close(None)
        await look
    assert gate.lack("v1") == Lack((), ("rank :1",))
