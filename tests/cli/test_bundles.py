"""The commands about bundles, on services of this process that follow a real store."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt, BundleMissing, HoldRefused, SchemaMismatch
from bundles.store import BundleStore
from cli import processes
from cli.errors import CommandError, StackError
from cli.main import build
from cli.processes import Process
from cli.stack import SERVICES, Ports, RunningStack
from features.dense import FINGERPRINT
from serving.bundle_follower import BundleFollower, Source
from serving.config import ServiceConfig
from serving.errors import SettingRefused
from serving.holder import Holder
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry
from tests.bundles.conftest import fields

METRICS = {"funnel": {"funnel_value": {"mean": 0.9}}, "rerank": {"like": {"auc": 0.8}, "click": "unknown"}}
Publish = Callable[..., str]


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build(), ["--home", str(home), *arguments])


def error_of(result: Result, kind: type[Exception]) -> str:
    assert isinstance(result.exception, kind)
    return str(result.exception)


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    ticks = iter(range(1_767_571_200_000, 1_767_571_300_000))
    return BundleStore(tmp_path / "bundles", now_ms=lambda: next(ticks))


@pytest.fixture
def publish(store: BundleStore) -> Publish:
    def publish_text(text: str, **changes: Any) -> str:
        with store.stage() as staged:
            (staged / "table").write_text(text)
            stated = {"schema_fingerprint": FINGERPRINT, "metrics": METRICS, **changes}
            return store.publish(staged, **{**fields(), **stated}).version

    return publish_text


def follower(store: BundleStore, name: str) -> tuple[Holder[str], BundleFollower[str]]:
    """Refuses bundles whose text names the service."""

    def make(bundle: Bundle) -> str:
        if name in (text := bundle.file("table").read_text()):
            raise SettingRefused(bundle.version, f"not in {name}")
        return text

    holder = Holder[str](pin_s=0.01)
    return holder, BundleFollower(Source(store, FINGERPRINT), make, holder, 0.01)


@pytest.fixture
async def stack(store: BundleStore, publish: Publish, tmp_path: Path) -> AsyncIterator[list[str]]:
    """Three bundles, the second of which is active after the first, and five services that follow."""
    versions = [publish(text) for text in ("one", "two", "three")]
    for version in versions[:2]:
        store.activate(version)
    here = Process("", os.getpid(), processes._start_time(os.getpid()) or 0, "log")
    ports: dict[str, int] = {}
    async with AsyncExitStack() as cleanup:
        for name in SERVICES:
            holder, following = follower(store, name)
            service = Service(
                (name,),
                lambda _: None,
                following.load,
                versions=holder.versions,
                note=following.note,
                follow=following.follow,
            )
            server = ServerHandle(ServiceConfig(listen="127.0.0.1:0", drain_s=0.01), service, NoTelemetry())
            await server.start()
            cleanup.push_async_callback(server.stop)
            await server.ready.wait()
            ports[name] = server.port
        (tmp_path / "run").mkdir()
        named = tuple(Process(name, here.pid, here.started, here.log) for name in SERVICES)
        RunningStack(Ports(**ports, shards=()), named, "synthetic").save(tmp_path / "run")
        yield versions


async def run_beside(home: Path, *arguments: str) -> Result:
    """Runs a command in a thread, so that the services of this event loop can answer it."""
    return await asyncio.to_thread(run, home, *arguments)


def test_without_a_stack_the_pointer_moves_and_the_command_says_so(
    tmp_path: Path, store: BundleStore, publish: Publish
) -> None:
    first, second = publish("one"), publish("two")
    assert run(tmp_path, "activate", first).output == f"bundle {first} is active; before: none\nno stack runs\n"
    assert run(tmp_path, "activate", second[-12:]).output.startswith(f"bundle {second} is active; before: {first}\n")
    assert run(tmp_path, "rollback").output.startswith(f"bundle {first} is active; before: {second}\n")
    assert store.pointer() == [first, second]
    assert run(tmp_path, "activate", "active").output == f"bundle {first} is active already\nno stack runs\n"


def test_what_cannot_serve_is_not_activated(tmp_path: Path, store: BundleStore, publish: Publish) -> None:
    good, foreign, corrupt = publish("one"), publish("two", schema_fingerprint="f00d"), publish("three")
    (store.root / corrupt / "table").chmod(0o644)
    (store.root / corrupt / "table").write_text("spoilt")
    store.activate(good)
    for command in ("activate", "hold"):
        assert foreign in error_of(run(tmp_path, command, foreign), SchemaMismatch)
        assert "table" in error_of(run(tmp_path, command, corrupt), BundleCorrupt)
        assert good in error_of(run(tmp_path, command, "2031"), BundleMissing)
    assert (store.pointer(), store.also()) == ([good], [])


def test_without_a_version_before_there_is_no_way_back(tmp_path: Path, store: BundleStore, publish: Publish) -> None:
    store.activate(publish("one"))
    assert "there is no previous bundle" in error_of(run(tmp_path, "rollback"), BundleMissing)


def test_only_what_is_held_can_be_released(tmp_path: Path, store: BundleStore, publish: Publish) -> None:
    version = publish("one")
    assert "is not held; held: none" in error_of(run(tmp_path, "release", version), HoldRefused)
    assert run(tmp_path, "hold", version).exit_code == 0
    (store.root / version).rename(store.root / ".gone")
    assert run(tmp_path, "release", version).exit_code == 0
    assert store.also() == []


def test_the_table_tells_bundles_apart(tmp_path: Path, store: BundleStore, publish: Publish) -> None:
    assert "no bundle is published" in error_of(run(tmp_path, "bundles"), CommandError)
    first, second, third, broken = (publish(text) for text in "1234")
    for version in (first, second):
        store.activate(version)
    store.hold(first)
    (store.root / broken / "manifest.json").chmod(0o644)
    (store.root / broken / "manifest.json").write_text("{}")
    rows = json.loads(run(tmp_path, "bundles", "--json").output)["bundles"]
    assert [(row["version"], row["state"]) for row in rows] == [
        (first, "previous, held"),
        (second, "active"),
        (third, ""),
        (broken, ""),
    ]
    assert rows[0]["metrics"] == {"funnel value": 0.9, "like AUC": 0.8}
    assert (rows[0]["created"], "format_version" in rows[3]["problem"]) == ("2026-01-05T00:00:00+00:00", True)
    shown = run(tmp_path, "bundles").output
    assert all(version in shown for version in (first, second, third, broken, "0.9000"))


async def test_commands_wait_until_every_service_of_a_running_stack_has_come_along(
    tmp_path: Path, stack: list[str]
) -> None:
    first, second, third = stack
    activated = await run_beside(tmp_path, "activate", third)
    assert f"before: {second}\nall 5 services serve {third} after" in activated.output
    rolled_back = await run_beside(tmp_path, "rollback")
    assert f"before: {third}\nall 5 services serve {second} after" in rolled_back.output
    held = await run_beside(tmp_path, "hold", first)
    assert f"all 5 services hold {first} after" in held.output
    rows = json.loads((await run_beside(tmp_path, "bundles", "--json")).output)["bundles"]
    assert [(len(row["served_by"]), len(row["held_by"]), row["state"]) for row in rows] == [
        (0, 5, "held"),
        (5, 5, "active"),
        (0, 5, "previous"),
    ]


async def test_a_service_that_refuses_is_named_at_once_and_the_way_back_is_shown(
    tmp_path: Path, stack: list[str], publish: Publish
) -> None:
    bad = publish("not for rank_svc")
    told = error_of(await run_beside(tmp_path, "activate", bad, "--wait", "30"), StackError)
    assert "services do not serve" in told
    assert f"rank_svc: serves {stack[1]}; bundle {bad} is refused, {stack[1]} goes on: cannot serve" in told
    assert "explore rollback" in told
    assert f"all 5 services serve {stack[1]}" in (await run_beside(tmp_path, "rollback")).output
    shown = (await run_beside(tmp_path, "bundles")).output
    assert f"rank_svc: bundle {bad} is refused" in shown


async def test_who_does_not_come_along_in_time_is_named(tmp_path: Path, stack: list[str]) -> None:
    file = tmp_path / "run" / "stack.json"
    saved = json.loads(file.read_text())
    saved["ports"]["rerank_svc"] = 1
    file.write_text(json.dumps(saved))
    told = error_of(await run_beside(tmp_path, "activate", stack[2], "--wait", "0.3"), StackError)
    assert f"services do not serve {stack[2]}:" in told
    assert "rerank_svc: does not answer" in told


@pytest.mark.parametrize("command", ["activate", "hold"])
async def test_a_bundle_of_other_data_is_refused_under_a_running_stack(
    tmp_path: Path, stack: list[str], store: BundleStore, publish: Publish, command: str
) -> None:
    other = publish("other", dataset="kuairand")
    told = error_of(await run_beside(tmp_path, command, other), CommandError)
    assert f"bundle {other} is of data set 'kuairand', the running stack serves the users of 'synthetic'" in told
    assert (store.active_version(), store.also()) == (stack[1], [])
