"""A port of the gateway's kind, with real certificates and the real check of keys, asked by the client and by locust itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from gateway.clients import ClientGate
from gateway.config import GatewayConfig
from loadtests.access import Access, AccessError, read_access
from loadtests.client import ExploreClient, wait_for_gateway
from protos.explore.v1 import feed_pb2, feed_pb2_grpc, feedback_pb2, feedback_pb2_grpc
from serving.config import ServiceConfig
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry
from tests.gateway.keys import APP, SHOP, entry, write_keys
from tests.loadtests.fake_gateway import page
from tests.loadtests.test_locustfile import LOCUST, ROOT
from tests.serving.certificates import Authority

NAME = "feed.example.com"
FIRST = feed_pb2.GetFeedRequest(user_id="1", page_size=5)


class Answers(feed_pb2_grpc.ExploreServiceServicer, feedback_pb2_grpc.FeedbackServiceServicer):
    """Pages as they should be."""

    async def GetFeed(self, request: Any, context: Any) -> Any:
        return page(request)

    async def LogEvents(self, request: Any, context: Any) -> Any:
        return feedback_pb2.LogEventsResponse(accepted=len(request.events))


def register(server: grpc.aio.Server) -> None:
    answers = Answers()
    feed_pb2_grpc.add_ExploreServiceServicer_to_server(answers, server)
    feedback_pb2_grpc.add_FeedbackServiceServicer_to_server(answers, server)


async def start(config: ServiceConfig, *gates: ClientGate) -> ServerHandle:
    names = ("explore.v1.ExploreService", "explore.v1.FeedbackService")
    server = ServerHandle(config, Service(names, register, gates=gates), NoTelemetry())
    await server.start()
    await server.ready.wait()
    return server


@dataclass(frozen=True)
class Guarded:
    """A port that shows a certificate and asks for keys; files of those who may and may not call."""

    host: str
    files: Path

    def access(self, key: str = "", authority: str = "public", **others: str) -> Access:
        return read_access(str(self.files / f"{authority}.pem"), key=key and str(self.files / f"{key}.key"), **others)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    public = Authority("public")
    (tmp_path / "public.pem").write_bytes(public.pem)
    (tmp_path / "other.pem").write_bytes(Authority("public").pem)
    keys_held = {"app": APP, "marked": f"\ufeff{APP}", "shop": SHOP, "unknown": "nobody-knows-this-key"}
    for name, key in keys_held.items():
        (tmp_path / f"{name}.key").write_text(key + "\n")
    keys = write_keys(
        tmp_path / "keys", app=entry(APP, scopes=["feed", "feedback"]), shop=entry(SHOP, scopes=["feed"], burst=1)
    )
    certificates = public.write(tmp_path / "public", NAME)
    config = GatewayConfig(listen="127.0.0.1:0", drain_s=0.01, client_keys=keys, client_tls_directory=certificates)
    server = await start(config, ClientGate(keys))
    yield Guarded(f"127.0.0.1:{server.port}", tmp_path)
    await server.stop()


async def told(host: str, access: Access, times: int = 1) -> list[str]:
    """The errors that so many pages and as many events are reported with, "" for none."""
    reports: list[str] = []

    def ask() -> None:
        client = ExploreClient(host, lambda **report: reports.append(str(report["exception"] or "")), 10.0, access)
        for _ in range(times):
            client.page(FIRST, time.perf_counter())
        client.log_events("like", [feedback_pb2.Event(event_id="a")], time.perf_counter())
        client.close()

    await asyncio.to_thread(ask)
    return reports


async def test_the_key_lets_every_call_in(guarded: Guarded) -> None:
    assert await told(guarded.host, guarded.access("app")) == ["", ""]
    assert await told(guarded.host, guarded.access("app", server_name=NAME)) == ["", ""]
    assert await told(guarded.host, guarded.access("marked")) == ["", ""]  # as some editors begin a file


async def test_calls_that_are_turned_away_are_failures_by_their_status(guarded: Guarded) -> None:
    assert await told(guarded.host, guarded.access()) == ["UNAUTHENTICATED"] * 2
    assert await told(guarded.host, guarded.access("unknown")) == ["UNAUTHENTICATED"] * 2
    errors = await told(guarded.host, guarded.access("shop"), times=5)
    assert errors[0] == ""
    assert set(errors[1:-1]) <= {"", "RESOURCE_EXHAUSTED"}
    assert errors[-1] == "PERMISSION_DENIED"


async def test_nobody_else_gets_the_key(guarded: Guarded) -> None:
    """Somebody with a certificate of another authority, or for another name, and whoever listens in plain text."""
    others = (guarded.access("app", "other"), guarded.access("app", server_name="other.example.com"), Access(key=APP))
    for access in others:
        assert not await asyncio.to_thread(wait_for_gateway, guarded.host, 0.5, access)
        assert await told(guarded.host, access) == ["UNAVAILABLE"] * 2
    assert await asyncio.to_thread(wait_for_gateway, guarded.host, 10.0, guarded.access())


async def test_a_certificate_is_shown_where_one_is_asked_for(tmp_path: Path) -> None:
    services = Authority("services")
    own = {name: services.write(tmp_path / name, name) for name in ("loadtest", "stranger")}
    config = ServiceConfig(
        listen="127.0.0.1:0",
        drain_s=0.01,
        tls_directory=services.write(tmp_path / "server", NAME),
        tls_peers=("loadtest",),
    )
    server = await start(config)
    host = f"127.0.0.1:{server.port}"
    shown = {n: read_access(*(str(d / f) for f in ("ca.crt", "tls.crt", "tls.key"))) for n, d in own.items()}
    assert await told(host, shown["loadtest"]) == ["", ""]
    assert await told(host, shown["stranger"]) == ["PERMISSION_DENIED"] * 2
    assert await told(host, read_access(str(own["loadtest"] / "ca.crt"))) == ["UNAVAILABLE"] * 2
    await server.stop()


async def test_locust_runs_against_it(guarded: Guarded) -> None:
    options = ["--rate", "30", "--duration", "1", "--deadline", "5", "--max-p99-ms", "5000"]
    files = ["--ca", str(guarded.files / "public.pem"), "--key-file", str(guarded.files / "app.key")]
    for command, status in ((options + files, 0), (options + files[:2], 1)):
        process = await asyncio.create_subprocess_exec(
            *LOCUST, "--host", guarded.host, *command, cwd=ROOT, stdout=-1, stderr=-1
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == status, (output + errors).decode()
        assert (b"UNAUTHENTICATED" in errors) is bool(status)
        assert APP.encode() not in output + errors


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": "app.key"}, "--ca is missing"),
        ({"server_name": NAME}, "--ca is missing"),
        ({"authorities": "missing.pem"}, "missing.pem: No such file"),
        ({"authorities": "app.key"}, "app.key: holds no certificate"),
        ({"authorities": "ca.crt", "key": "empty.key"}, "empty.key: must hold one line"),
        ({"authorities": "ca.crt", "key": "two.key"}, "two.key: must hold one line"),
        ({"authorities": "ca.crt", "key": "binary.key"}, "binary.key: must hold one line"),
        ({"authorities": "ca.crt", "certificate": "tls.crt"}, "belong together"),
        ({"authorities": "ca.crt", "certificate": "tls.crt", "certificate_key": "missing"}, "missing: No such file"),
        ({"authorities": "ca.crt", "certificate": "tls.crt", "certificate_key": "other.pem"}, "are no pair"),
        ({"authorities": "ca.crt", "certificate": "app.key", "certificate_key": "tls.key"}, "are no pair"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_shown(
    wrong: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Authority("public").write(tmp_path / "files", NAME))
    Path("other.pem").write_bytes(Authority("other").issue(NAME)[1])
    for name, held in {"app": APP.encode(), "empty": b" \n", "two": b"one\ntwo\n", "binary": b"\xff\x00"}.items():
        Path(f"{name}.key").write_bytes(held)
    with pytest.raises(AccessError) as refused:
        read_access(**wrong)
    assert said in str(refused.value)
    assert APP not in str(refused.value)
