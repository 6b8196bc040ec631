"""`explore` against a gateway that has certificates and wants keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from cli import main
from cli.errors import CommandError
from gateway.__main__ import build
from gateway.config import GatewayConfig
from serving.server import ServerHandle
from serving.telemetry import NoTelemetry
from tests.gateway.keys import APP, SHOP, entry, write_keys
from tests.retrieval_svc.published import publish
from tests.serving.certificates import Authority


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """A gateway without stages, whose files are below `tmp_path`."""
    publish(tmp_path / "bundles")
    authority = Authority()
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "other.crt").write_bytes(Authority("another").pem)
    (tmp_path / "key").write_text(APP + "\n")
    (tmp_path / "marked").write_text(f"\ufeff{APP}\n")  # as some editors begin a file
    (tmp_path / "unknown").write_text(SHOP)
    nowhere: dict[str, Any] = {f"{name}_address": "127.0.0.1:1" for name in ("retrieval", "prerank", "rank", "rerank")}
    config = GatewayConfig(
        listen="127.0.0.1:0",
        bundle_root=tmp_path / "bundles",
        bundle_wait_s=0.05,
        drain_s=0.01,
        valkey_url=SecretStr("redis://127.0.0.1:1/0"),
        client_keys=write_keys(tmp_path / "keys", app=entry(APP, scopes=["feed", "debug"])),
        client_tls_directory=authority.write(tmp_path / "tls", "feed.example.com"),
        **nowhere,
    )
    server = ServerHandle(config, build(config, NoTelemetry()), NoTelemetry())
    await server.start()
    await server.ready.wait()
    yield f"127.0.0.1:{server.port}"
    await server.stop()


async def explore(tmp_path: Path, *arguments: str) -> Result:
    words = ["--home", str(tmp_path), *arguments]
    return await asyncio.to_thread(lambda: CliRunner().invoke(main.build(), words))


async def test_commands_show_a_key_over_tls(tmp_path: Path, address: str) -> None:
    access = ["--user", "42", "--address", address, "--ca", str(tmp_path / "ca.crt"), "--key-file"]
    for key in ("key", "marked"):
        page = await explore(tmp_path, "feed", "--json", *access, str(tmp_path / key))
        assert len(json.loads(page.stdout)["items"]) > 0
    explained = await explore(tmp_path, "explain", "--json", *access, str(tmp_path / "key"))
    assert json.loads(explained.stdout)["debug"]
    refused = await explore(tmp_path, "feed", *access, str(tmp_path / "unknown"))
    assert "UNAUTHENTICATED: the call has an unknown key" in str(refused.exception)
    denied = await explore(tmp_path, "delete-user", "42", *access[2:], str(tmp_path / "key"))
    assert "PERMISSION_DENIED: key 'app' may not call" in str(denied.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ca", "{home}/ca.crt"], "UNAUTHENTICATED: the call has no key"),
        (["--ca", "{home}/other.crt", "--key-file", "{home}/key"], "UNAVAILABLE"),
        (["--key-file", "{home}/key"], "--key-file needs --ca"),
        (["--ca", "{home}/nowhere"], "nowhere cannot be read: No such file or directory"),
        (["--ca", "{home}/ca.crt", "--key-file", "{home}/nowhere"], "nowhere cannot be read"),
        ([], "UNAVAILABLE"),
    ],
)
async def test_what_is_missing_is_said(tmp_path: Path, address: str, options: list[str], said: str) -> None:
    words = [option.format(home=tmp_path) for option in options]
    error = (await explore(tmp_path, "feed", "--user", "42", "--address", address, *words)).exception
    assert isinstance(error, CommandError)
    assert said in str(error)
    assert APP not in str(error)
