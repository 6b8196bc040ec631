"""Who may call the gateway, what, and how often: a whole gateway without stages, and calls with keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import SecretStr

from gateway import __main__ as gateway
from gateway.clients import QUIET_S, SCOPES, ClientGate
from gateway.clients_file import ClientsRefused, Scope
from gateway.config import GatewayConfig
from protos.explore.v1 import feed_pb2, feedback_pb2
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.feedback_pb2 import (
    DeleteUserRequest,
    LogEventsRequest,
    SetRelationsRequest,
    StreamEventsRequest,
)
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.errors import CallError, Overloaded, PermissionDenied, Unauthenticated
from serving.telemetry import NoTelemetry
from serving.testing import FakeClock, serve
from tests.gateway.keys import APP, SHOP, entry, showing, write_keys
from tests.retrieval_svc.published import publish

LOG_EVENTS, STREAM_EVENTS, GET_FEED = (
    next(method for method in SCOPES if method.endswith(name)) for name in ("LogEvents", "StreamEvents", "GetFeed")
)
TIMEOUT_S = 10.0


class Call:
    """The context of a call with this metadata."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


@asynccontextmanager
async def open_gateway(tmp_path: Path, keys: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Stages and Valkey are nowhere, which pages and status do without."""
    publish(tmp_path / "bundles")
    nowhere: dict[str, Any] = {f"{name}_address": "127.0.0.1:1" for name in ("retrieval", "prerank", "rank", "rerank")}
    config = GatewayConfig(
        bundle_root=tmp_path / "bundles",
        bundle_wait_s=0.05,
        valkey_url=SecretStr("redis://127.0.0.1:1/0"),
        client_keys=keys,
        feedback_timeout_s=0.05,
        **nowhere,
    )
    async with serve(gateway.build(config, NoTelemetry())) as channel:
        yield channel


async def code_of(call: Any, *sent: Any) -> grpc.StatusCode:
    """How a call ends, a stream of answers by its first one, after these messages. Nothing is sent on a stream that is turned away:
    a client whose message meets the end of its call says INTERNAL, whatever the server said."""
    try:
        for message in sent:
            await call.write(message)
        if sent:
            await call.done_writing()
        await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def calls(channel: grpc.aio.Channel, key: str | None) -> dict[str, Any]:
    """One call of each kind, all of them begun, with a key. Feedback finds no Valkey, which is behind the gate."""
    feed: Any = ExploreServiceStub(channel)
    feedback: Any = FeedbackServiceStub(channel)
    status: Any = StatusServiceStub(channel)
    reflect: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    options: dict[str, Any] = {"timeout": TIMEOUT_S, "metadata": None if key is None else showing(key)}
    return {
        "feed": feed.GetFeed(GetFeedRequest(user_id="42"), **options),
        "debug": feed.GetFeed(GetFeedRequest(user_id="42", debug=True), **options),
        "preview": feed.GetFeed(GetFeedRequest(user_id="42", preview=True), **options),
        "log": feedback.LogEvents(LogEventsRequest(), **options),
        "stream": feedback.StreamEvents(**options),
        "relations": feedback.SetRelations(SetRelationsRequest(), **options),
        "delete": feedback.DeleteUser(DeleteUserRequest(user_id="42"), **options),
        "status": status.GetStatus(GetStatusRequest(), **options),
        "reflection": reflect.ServerReflectionInfo(**options),
    }


OK, INVALID, DENIED = (
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
)
STREAMED: dict[str, tuple[Any, ...]] = {
    "stream": (StreamEventsRequest(),),
    "reflection": (reflection_pb2.ServerReflectionRequest(list_services=""),),
}
BEHIND = {  # how each call ends that gets through
    **dict.fromkeys(("feed", "debug", "preview", "stream", "status", "reflection"), OK),
    **dict.fromkeys(("log", "relations"), INVALID),
    "delete": grpc.StatusCode.UNAVAILABLE,
}
OPENS = {
    Scope.FEED: {"feed"},
    Scope.DEBUG: set[str](),
    Scope.FEEDBACK: {"log", "stream", "relations"},
    Scope.DELETE: {"delete"},
    Scope.STATUS: {"status", "reflection"},
}


async def test_each_scope_opens_its_methods_and_nothing_else(tmp_path: Path) -> None:
    scopes: dict[str, list[str]] = {scope.value: [scope.value] for scope in Scope} | {"both": ["feed", "debug"]}
    clients = {name: entry(f"key-of-{name}", scopes=granted) for name, granted in scopes.items()}
    async with open_gateway(tmp_path, write_keys(tmp_path / "keys", **clients)) as channel:
        for name, granted in scopes.items():
            opened = set.union(*(OPENS[Scope(scope)] for scope in granted))
            opened |= {"debug", "preview"} if name == "both" else set()
            ended = {
                call: await code_of(made, *STREAMED.get(call, ()) if call in opened else ())
                for call, made in calls(channel, f"key-of-{name}").items()
            }
            assert ended == {call: code if call in opened else DENIED for call, code in BEHIND.items()}


@pytest.mark.parametrize("key", [None, "", "unknown", APP + " ", APP[:-1], "0" * 4000])
async def test_without_a_known_key_only_health_answers(tmp_path: Path, key: str | None) -> None:
    async with open_gateway(tmp_path, write_keys(tmp_path / "keys", app=entry(APP))) as channel:
        ended = [await code_of(made) for made in calls(channel, key).values()]
        assert set(ended) == {grpc.StatusCode.UNAUTHENTICATED}
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)).status == 1


async def test_a_refused_file_leaves_the_keys_before_and_says_so(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys", app=entry(APP))
    async with open_gateway(tmp_path, file) as channel:
        status: Any = StatusServiceStub(channel)
        file.write_text("keys: {app: {}}")
        answer = await status.GetStatus(GetStatusRequest(), timeout=TIMEOUT_S, metadata=showing(APP))
        assert "keys:1:8: keys.app has no sha256, per_second, burst, scopes" in answer.note
        write_keys(file, shop=entry(SHOP))
        ended = await code_of(status.GetStatus(GetStatusRequest(), timeout=TIMEOUT_S, metadata=showing(APP)))
        assert ended is grpc.StatusCode.UNAUTHENTICATED
        answer = await status.GetStatus(GetStatusRequest(), timeout=TIMEOUT_S, metadata=showing(SHOP))
        assert "refused" not in answer.note


async def test_an_exhausted_key_is_told_when_to_come_back(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", app=entry(APP, per_second=0.5, burst=2), shop=entry(SHOP))
    async with open_gateway(tmp_path, keys) as channel:
        feed: Any = ExploreServiceStub(channel)

        def page(key: str) -> Any:
            return feed.GetFeed(GetFeedRequest(user_id="42"), timeout=TIMEOUT_S, metadata=showing(key))

        assert [await code_of(page(APP)) for _ in range(2)] == [OK, OK]
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"'app' is exhausted: 0\.5 calls a second, 2 at once"
        ) as failure:
            await page(APP)
        assert await code_of(page(SHOP)) is OK
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailing: dict[str, str] = dict(failure.value.trailing_metadata() or ())  # type: ignore[arg-type]
    assert 1000 < int(trailing["grpc-retry-pushback-ms"]) <= 2000


def test_every_method_of_the_gateway_has_a_scope() -> None:
    services = [feed_pb2.DESCRIPTOR.services_by_name["ExploreService"]]
    services.append(feedback_pb2.DESCRIPTOR.services_by_name["FeedbackService"])
    methods = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert methods <= SCOPES.keys()
    assert {service.full_name for service in services} == {gateway.EXPLORE, gateway.FEEDBACK}


def test_a_method_without_a_scope_is_nobodys(tmp_path: Path) -> None:
    gate = ClientGate(write_keys(tmp_path / "keys", app=entry(APP)))
    with pytest.raises(PermissionDenied, match=r"'app' may not call /new\.Service/Method"):
        gate.admit("/new.Service/Method", b"", Call(*showing(APP)))


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ([("x-api-key", APP)], True),
        ([("authorization", f"Bearer {APP}")], True),
        ([("authorization", f"bearer  {APP} ")], True),
        ([("x-api-key", APP), ("authorization", "Bearer other")], True),
        ([("x-api-key", "other"), ("authorization", f"Bearer {APP}")], False),
        ([("authorization", f"Basic {APP}")], False),
        ([("authorization", APP)], False),
        ([("authorization", "Bearer")], False),
        ([("cookie", APP)], False),
        ([], False),
    ],
)
def test_where_a_key_is_looked_for(tmp_path: Path, metadata: list[tuple[str, str]], known: bool) -> None:
    gate = ClientGate(write_keys(tmp_path / "keys", app=entry(APP)))
    if known:
        gate.admit(LOG_EVENTS, b"", Call(*metadata))
    else:
        with pytest.raises(Unauthenticated, match="send one as x-api-key, or as authorization: Bearer KEY"):
            gate.admit(LOG_EVENTS, b"", Call(*metadata))


def test_bytes_that_are_no_request_are_left_to_those_who_say_so(tmp_path: Path) -> None:
    gate = ClientGate(write_keys(tmp_path / "keys", app=entry(APP, scopes=["feed"])))
    gate.admit(GET_FEED, b"\xff\xff", Call(*showing(APP)))


def test_an_exhausted_key_refills_and_stays_exhausted_over_a_reload(tmp_path: Path) -> None:
    clock, file = FakeClock(), write_keys(tmp_path / "keys", app=entry(APP, per_second=2, burst=3))
    gate = ClientGate(file, clock)

    def admitted() -> int:
        count = 0
        try:
            while True:
                gate.admit(LOG_EVENTS, b"", Call(*showing(APP)))
                count += 1
        except Overloaded:
            return count

    assert admitted() == 3
    clock.advance(1.0)
    assert admitted() == 2
    write_keys(file, app=entry(APP, per_second=10, burst=100))
    assert admitted() == 0
    clock.advance(1.0)
    assert admitted() == 10


def test_the_pushback_is_the_time_to_the_next_token(tmp_path: Path) -> None:
    clock = FakeClock()
    gate = ClientGate(write_keys(tmp_path / "keys", app=entry(APP, per_second=4, burst=1)), clock)
    gate.admit(LOG_EVENTS, b"", Call(*showing(APP)))
    with pytest.raises(Overloaded) as first:
        gate.admit(LOG_EVENTS, b"", Call(*showing(APP)))
    assert first.value.pushback_ms == 250
    clock.advance(0.25)
    gate.admit(LOG_EVENTS, b"", Call(*showing(APP)))


async def test_a_stream_waits_for_its_tokens_and_ends_when_the_key_is_taken_back(tmp_path: Path) -> None:
    clock, slept = FakeClock(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    file = write_keys(tmp_path / "keys", app=entry(APP, per_second=10, burst=2))
    gate, call = ClientGate(file, clock, sleep), Call(*showing(APP))
    gate.admit(STREAM_EVENTS, None, call)
    for _ in range(5):
        await gate.pace(STREAM_EVENTS, call)
    assert slept == pytest.approx([0.1] * 4)
    write_keys(file, app=entry(APP, scopes=["feed"]))
    with pytest.raises(PermissionDenied):
        await gate.pace(STREAM_EVENTS, call)
    write_keys(file, shop=entry(SHOP))
    with pytest.raises(Unauthenticated):
        await gate.pace(STREAM_EVENTS, call)


async def test_streams_of_one_key_share_its_rate(tmp_path: Path) -> None:
    clock = FakeClock()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await asyncio.sleep(0)

    keys = write_keys(tmp_path / "keys", app=entry(APP, per_second=10, burst=1))
    gate, call = ClientGate(keys, clock, sleep), Call(*showing(APP))

    async def stream() -> None:
        for _ in range(10):
            await gate.pace(STREAM_EVENTS, call)

    await asyncio.gather(stream(), stream())
    assert clock.now >= 1.9 - 1e-6


def test_a_file_that_is_broken_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientsRefused, match="cannot be read"):
        ClientGate(tmp_path / "nowhere")


def test_no_key_is_logged_or_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, file = FakeClock(), write_keys(tmp_path / "keys", app=entry(APP, scopes=["feed"]))
    gate = ClientGate(file, clock)
    said = list[str]()
    with caplog.at_level(logging.DEBUG):
        for key in (APP, "another-secret"):
            for _ in range(3):
                try:
                    gate.admit(LOG_EVENTS, b"", Call(*showing(key)))
                except CallError as error:
                    said.append(str(error))
            clock.advance(QUIET_S)
        file.write_text(f"keys: {{app: {{sha256: {APP}}}}}")
        with pytest.raises(PermissionDenied):
            gate.admit(LOG_EVENTS, b"", Call(*showing(APP)))
    assert len(said) == 6
    turned_away = [record for record in caplog.records if "turned away" in record.getMessage()]
    assert len(turned_away) == 3  # once in a while, however often they call
    everything = "\n".join([*said, gate.refused, *(str(vars(record)) for record in caplog.records)])
    assert APP not in everything
    assert "another-secret" not in everything
