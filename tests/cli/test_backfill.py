"""User state as the log leaves it, in a real Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from valkey import Valkey

from cli.backfill import MARKER, load_users
from features.actions import Action
from features.event_archive import UNKNOWN_CAUSE, FeedbackEvent, archive_command, shard_of, stream_key
from features.relations import NO_ACCOUNT
from features.user_state import user_key
from tests.valkeys import own_valkey
from training.datasets import load
from training.datasets.simulate import simulate, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "simulated"
    simulate(tiny(), path)
    return path


@pytest.fixture(scope="module")
def client() -> Iterator[Valkey]:
    with own_valkey() as server, Valkey(**server.connection_kwargs) as connected:
        yield connected


def _nothing(done: int, total: int) -> None:
    return


def test_an_empty_store_is_filled_once(client: Valkey, data: Path) -> None:
    client.flushall()
    assert (load_users(client, data, _nothing), load_users(client, data, _nothing)) == (True, False)
    assert client.exists(user_key("42"))


def test_state_of_an_older_layout_is_loaded_again(client: Valkey, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client.flushall()
    monkeypatch.setattr("cli.backfill.LAYOUT", 1)
    load_users(client, data, _nothing)
    monkeypatch.undo()
    assert load_users(client, data, _nothing)


def test_accounts_of_the_data_set_and_follows_of_the_log_are_loaded(client: Valkey, data: Path) -> None:
    load_users(client, data, _nothing)
    dataset = load(data)
    owners = dict(dataset.users.drop_nulls("account_id").select("user_id", "account_id").iter_rows())
    follows = dataset.events.filter(pl.col("action") == "follow").group_by("user_id").agg("author_id")
    for user_id, authors in follows.iter_rows():
        stored: Any = client.hmget(user_key(user_id), ["p", "rf"])
        profile, followed = stored
        assert json.loads(profile)[-1] == owners.get(user_id, NO_ACCOUNT)
        assert set(np.frombuffer(followed, "<i8").tolist()) == set(authors)


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


def test_archived_events_outlive_a_reload_and_count_from_the_end_of_the_log(client: Valkey, data: Path) -> None:
    client.flushall()
    as_of_ms = load(data).as_of_ms
    for number, time_ms in enumerate((as_of_ms - 1, as_of_ms, as_of_ms + 5, as_of_ms + 5)):
        event_id = f"e{min(number, 2)}"  # the last one was sent twice
        event = FeedbackEvent(event_id, 7, 3, Action.SHARE, time_ms, "a stranger", time_ms)
        client.execute_command(*archive_command(event, UNKNOWN_CAUSE, 100))
    for _ in range(2):
        assert load_users(client, data, _nothing)
        shared: Any = client.hget(user_key("a stranger"), f"c{int(Action.SHARE)}")
        assert shared == b"2"
        client.set(MARKER, "of another layout")
    assert client.xlen(stream_key(shard_of("a stranger"))) == 4
