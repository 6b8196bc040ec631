"""The health port of several servers in one process, asked as kubelet asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from serving.errors import BindError
from serving.health import LIVE
from serving.joint_health import JointHealth
from serving.ranking import RANKING
from tests.serving.test_server import NOT_SERVING, SERVING, health_of, watch

SERVICES = (RANKING, "b.Second")
PROBED = (LIVE, "", *SERVICES)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[JointHealth, grpc.aio.Channel]]:
    """One that expects two services, and a channel to it."""
    health = JointHealth("127.0.0.1:0")
    port = await health.open()
    for name in SERVICES:
        health.expect([name])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health, channel
    await health.shut_down()
    await health.close()


async def test_nothing_serves_before_everything_does() -> None:
    async with opened() as (health, channel):
        assert [await health_of(channel, name) for name in PROBED] == [SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING]
        ready = [asyncio.Event(), asyncio.Event()]
        health.watch(ready)
        ready[1].set()
        assert [await health_of(channel, name) for name in PROBED] == [SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING]
        statuses = watch(channel)
        assert await anext(statuses) == NOT_SERVING
        ready[0].set()
        assert await anext(statuses) == SERVING
        assert [await health_of(channel, name) for name in PROBED] == [SERVING] * 4


async def test_one_that_is_ready_while_the_process_ends_brings_nothing_back() -> None:
    async with opened() as (health, channel):
        late = asyncio.Event()
        health.watch([late])
        statuses = watch(channel)
        assert await anext(statuses) == NOT_SERVING
        await health.shut_down()
        late.set()
        assert await health_of(channel, "") == NOT_SERVING


async def test_an_address_in_use_is_named_and_none_opens_nothing() -> None:
    taken = JointHealth("127.0.0.1:0")
    port = await taken.open()
    with pytest.raises(BindError, match=f"127.0.0.1:{port}"):
        await JointHealth(f"127.0.0.1:{port}").open()
    await taken.close()
    assert await JointHealth(None).open() == 0
