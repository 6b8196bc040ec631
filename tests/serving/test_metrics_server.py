"""The endpoint over real HTTP: what it answers, what it refuses, and that nobody can hold it up."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from serving.errors import BindError
from serving.metrics import registry
from serving.metrics_server import Busy, MetricsServer


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    made = CollectorRegistry()
    Gauge("explore_test", "A gauge.", registry=made).set(7)
    served = MetricsServer("127.0.0.1:0", made)
    yield served
    served.close()


def ask(server: MetricsServer, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read()
    finally:
        connection.close()


def test_text_is_what_a_browser_gets(server: MetricsServer) -> None:
    status, kind, body = ask(server)
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b"explore_test 7.0" in body


def test_prometheus_gets_openmetrics_compressed(server: MetricsServer) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    status, kind, body = ask(server, Accept=accept, Accept_Encoding="gzip")
    assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
    assert [family.name for family in parse_openmetrics(gzip.decompress(body).decode())] == ["explore_test"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/metrics/x", "GET", 404), ("/../etc/passwd", "GET", 404), ("/metrics", "POST", 501)],
)
def test_there_is_nothing_else(server: MetricsServer, path: str, method: str, status: int) -> None:
    assert ask(server, path, method)[0] == status


@pytest.mark.parametrize("garbage", [b"\x00\xff\r\n\r\n", b"GET " + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b""])
def test_garbage_and_silence_hold_up_nobody(server: MetricsServer, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as odd:
        odd.sendall(garbage)
        assert ask(server)[0] == 200


def test_a_stuck_event_loop_is_said_and_ends_nothing() -> None:
    def take() -> list[object]:
        raise Busy("the event loop did not answer within 5 s")

    served = MetricsServer("127.0.0.1:0", registry(take))  # type: ignore[arg-type]
    try:
        assert [ask(served)[0] for _ in range(2)] == [503, 503]
    finally:
        served.close()


def test_a_taken_port_is_named(server: MetricsServer) -> None:
    with pytest.raises(BindError, match=rf"cannot show metrics on 127\.0\.0\.1:{server.port}: in use"):
        MetricsServer(f"127.0.0.1:{server.port}", CollectorRegistry())


@pytest.mark.parametrize("address", ["203.0.113.7:9464", "[2001:db8::7]:9464"])
def test_an_address_of_somebody_else_is_named(address: str) -> None:
    with pytest.raises(BindError, match=re.escape(f"cannot show metrics on {address}")):
        MetricsServer(address, CollectorRegistry())
