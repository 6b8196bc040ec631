"""Every kind of call passes the gates, and its end tells what they said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from serving.admission import WAIT
from serving.errors import NotReady, Overloaded, PermissionDenied
from serving.gates import Gate
from serving.server import Service
from serving.telemetry import MemoryTelemetry
from serving.testing import serve

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
SERVICE = "test.Kinds"


class Telling(Gate):
    """Does what the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.stop_at = 99  # messages
        self.admitted: list[tuple[str, bytes | None]] = []
        self.paced = 0

    def admit(self, method: str, data: bytes | None, context: Any) -> None:
        self.admitted.append((method, data))
        if self.error is not None:
            raise self.error

    async def pace(self, method: str, context: Any) -> None:
        self.paced += 1
        if self.paced == self.stop_at:
            raise PermissionDenied("no more")


class Kinds:
    """One method of each kind: they return the requests."""

    def __init__(self) -> None:
        self.called = 0

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        self.called += 1
        return request

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.called += 1
        yield request

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        self.called += 1
        return b"".join([request async for request in requests])

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.called += 1
        async for request in requests:
            yield request

    def service(self, *gates: Gate) -> Service:
        handlers = {
            kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, kind), bytes, bytes) for kind in KINDS
        }

        def register(server: grpc.aio.Server) -> None:
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])

        return Service((SERVICE,), register, gates=gates)


async def ask(channel: grpc.aio.Channel, kind: str, *messages: bytes) -> list[bytes]:
    call = begin(channel, kind, iter(messages) if kind.startswith("stream") else messages[0])
    return [answer async for answer in call] if kind.endswith("stream") else [await call]


async def ask_in_vain(channel: grpc.aio.Channel, kind: str) -> None:
    """A stream that sends nothing: a client whose message meets the end of its call says INTERNAL, whatever the server said."""
    call = begin(channel, kind, *(() if kind.startswith("stream") else (b"a",)))
    await (anext(aiter(call)) if kind.endswith("stream") else call)


def begin(channel: grpc.aio.Channel, kind: str, *request: Any) -> Any:
    method: Any = getattr(channel, kind)(f"/{SERVICE}/{kind}")
    return method(*request, timeout=10.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_gate_is_asked_once_and_each_message_after_the_other(kind: str) -> None:
    gate, kinds = Telling(), Kinds()
    messages = (b"a", b"b", b"c") if kind.startswith("stream") else (b"a",)
    async with serve(kinds.service(gate, Gate())) as channel:
        assert b"".join(await ask(channel, kind, *messages)) == b"".join(messages)
    streaming = kind.startswith("stream")
    assert gate.admitted == [(f"/{SERVICE}/{kind}", None if streaming else b"a")]
    assert gate.paced == (3 if streaming else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PermissionDenied("not you"), grpc.StatusCode.PERMISSION_DENIED, "not you"),
        (Overloaded("later", 70), grpc.StatusCode.RESOURCE_EXHAUSTED, "later"),
        (ZeroDivisionError("secret"), grpc.StatusCode.INTERNAL, "internal error, incident"),
    ],
)
async def test_who_is_turned_away_gets_no_further(
    kind: str, error: Exception, status: grpc.StatusCode, said: str
) -> None:
    gate, kinds, telemetry = Telling(), Kinds(), MemoryTelemetry()
    gate.error = error
    async with serve(kinds.service(gate), telemetry) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=said) as failure:
            await ask_in_vain(channel, kind)
    assert failure.value.code() is status
    assert "secret" not in str(failure.value.details())
    trailing: dict[str, str] = dict(failure.value.trailing_metadata() or ())  # type: ignore[arg-type]
    pushback = trailing.get("grpc-retry-pushback-ms")
    assert pushback == ("70" if status is grpc.StatusCode.RESOURCE_EXHAUSTED else None)
    assert kinds.called == 0
    if kind == "unary_unary":
        assert [(line.labels["status"], line.count) for line in telemetry.snapshot()] == [(status.name, 1)]


async def test_a_call_that_is_turned_away_takes_no_place_in_the_queue() -> None:
    gate, kinds, telemetry = Telling(), Kinds(), MemoryTelemetry()
    gate.error = NotReady("closed")
    async with serve(kinds.service(gate), telemetry) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="closed"):
            await ask(channel, "unary_unary", b"a")
    assert not [line for line in telemetry.snapshot() if line.measure == WAIT.name]


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_a_stream_ends_when_a_gate_says_so(kind: str) -> None:
    gate, kinds = Telling(), Kinds()
    gate.stop_at = 2
    async with serve(kinds.service(gate)) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="no more") as failure:
            await ask(channel, kind, b"a", b"b", b"c")
    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED
