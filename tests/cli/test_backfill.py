"""User state as the log leaves it, in a real Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from valkey import Valkey

from cli.backfill import MARKER, load_users
from cli.event_export import export_events, exported_events
from features.actions import Action
from features.event_archive import UNKNOWN_CAUSE, FeedbackEvent, archive_command, shard_of, stream_key
from features.relations import NO_ACCOUNT, Relation
from features.user_state import LAYOUT, RelationChange, append_command, relation_commands, user_key
from tests.valkeys import own_valkey
from training.datasets import load, write
from training.datasets.lineage import Origin, mark
from training.datasets.merge import with_events
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


def _interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def _follower(data: Path) -> str:
    """A user who follows several accounts in the log."""
    follows = (
        load(data).events.filter(pl.col("action") == "follow").group_by("user_id").agg(pl.col("author_id").n_unique())
    )
    user: str = follows.sort("author_id", "user_id")["user_id"][-1]
    return user


def _relate(client: Valkey, user_id: str, *changes: RelationChange) -> None:
    for command in relation_commands(user_id, changes):
        client.execute_command(*command)


def _accounts(*account_ids: int) -> bytes:
    return np.array(account_ids, "<i8").tobytes()


def _followed(client: Valkey, user_id: str) -> list[int]:
    stored: Any = client.hget(user_key(user_id), "rf")
    found: list[int] = np.frombuffer(stored, "<i8").tolist()
    return found


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


def test_state_of_another_log_is_replaced_but_for_whom_users_follow_mute_and_block(client: Valkey, data: Path) -> None:
    client.flushall()
    client.set(MARKER, "of another log")
    client.hset(user_key("stranger"), "c4", "1")
    client.zadd(user_key("stranger") + ":events", {"e1": 1})
    follower = _follower(data)
    changes = [
        RelationChange(7, Relation.MUTED),
        RelationChange(8, Relation.BLOCKED),
        RelationChange(9, Relation.FOLLOWED),
    ]
    for user in ("blocker", follower):
        _relate(client, user, *changes)
    load_users(client, data, _nothing)
    assert not client.exists(user_key("stranger"), user_key("stranger") + ":events")
    assert client.hgetall(user_key("blocker")) == {b"rf": _accounts(9), b"rm": _accounts(7), b"rb": _accounts(8)}
    assert client.hmget(user_key(follower), ["rm", "rb"]) == [_accounts(7), _accounts(8)]
    assert _followed(client, follower)[-1] == 9
    assert len(_followed(client, follower)) > 1


def test_whom_a_user_no_longer_follows_does_not_come_back_from_the_log(client: Valkey, data: Path) -> None:
    client.flushall()
    load_users(client, data, _nothing)
    follower = _follower(data)
    gone, *left = _followed(client, follower)
    _relate(
        client, follower, RelationChange(gone, Relation.FOLLOWED, removed=True), RelationChange(9, Relation.FOLLOWED)
    )
    client.set(MARKER, str(client.get(MARKER).decode()).replace(f"{LAYOUT}:", "1:"))  # type: ignore[union-attr]
    with pytest.raises(KeyboardInterrupt):
        load_users(client, data, _interrupt)
    assert load_users(client, data, _nothing)
    assert _followed(client, follower) == [*left, 9]


def test_an_interrupted_load_starts_over(client: Valkey, data: Path) -> None:
    client.flushall()
    with pytest.raises(KeyboardInterrupt):
        load_users(client, data, _interrupt)
    assert load_users(client, data, _nothing)


def test_archived_events_outlive_a_reload_and_those_that_the_log_lacks_count(client: Valkey, data: Path) -> None:
    client.flushall()
    as_of_ms = load(data).as_of_ms
    for number, time_ms in enumerate((as_of_ms - 1, as_of_ms, as_of_ms + 5, as_of_ms + 5)):
        _archive(client, f"e{min(number, 2)}", time_ms)  # the last one was sent twice
    for _ in range(2):
        assert load_users(client, data, _nothing)
        assert _shares(client) == 3
        client.set(MARKER, "of another layout")
    assert client.xlen(stream_key(shard_of("a stranger"))) == 4


def test_merged_events_count_once_and_what_came_late_or_after_the_export_counts_too(
    client: Valkey, data: Path, tmp_path: Path
) -> None:
    client.flushall()
    load_users(client, data, _nothing)
    before = load(data)
    media_id, author_id = before.media.select("media_id", "author_id").row(0)
    times = {"exported": before.as_of_ms + 10, "late": before.as_of_ms - 10, "after": before.as_of_ms + 20}
    for event_id, time_ms in times.items():
        _archive(client, event_id, time_ms, media_id, author_id)
    export_events(client, tmp_path / "exported", _nothing)
    exported = exported_events(tmp_path / "exported").filter(pl.col("event_time").dt.epoch("ms") == times["exported"])
    made_from = (Origin(data.name, mark(data)),)
    write(replace(with_events(before, exported), made_from=made_from), tmp_path / "merged")
    assert load(tmp_path / "merged").made_from == made_from
    assert load_users(client, tmp_path / "merged", _nothing)
    assert _shares(client) == 3


def test_an_event_that_a_gateway_takes_in_while_users_are_loaded_counts_once(client: Valkey, data: Path) -> None:
    client.flushall()
    users = sorted(load(data).users["user_id"].to_list())

    calls = []

    def meanwhile(done: int, total: int) -> None:
        calls.append(done)
        for user in (users[0], users[-1]):
            event = FeedbackEvent(f"{user} at {done}", 7, 3, Action.REPORT, 2**41, user, 2**41)
            client.execute_command(*archive_command(event, UNKNOWN_CAUSE, 100))
            client.execute_command(*append_command(user, [event]))

    assert load_users(client, data, _nothing)
    before = [_count(client, user, Action.REPORT) for user in (users[0], users[-1])]
    client.set(MARKER, "of another layout")
    assert load_users(client, data, meanwhile)
    assert len(calls) > 0
    after = [_count(client, user, Action.REPORT) for user in (users[0], users[-1])]
    assert [new - old for new, old in zip(after, before, strict=True)] == [len(calls)] * 2


def _count(client: Valkey, user_id: str, action: Action) -> int:
    stored: Any = client.hget(user_key(user_id), f"c{int(action)}")
    return int(stored or 0)


def _archive(client: Valkey, event_id: str, time_ms: int, media_id: int = 7, author_id: int = 3) -> None:
    event = FeedbackEvent(event_id, media_id, author_id, Action.SHARE, time_ms, "a stranger", time_ms)
    client.execute_command(*archive_command(event, UNKNOWN_CAUSE, 100))


def _shares(client: Valkey) -> int:
    return _count(client, "a stranger", Action.SHARE)
