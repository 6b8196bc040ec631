"""What the caller of a stream sees when its bytes are no message, or its handler raises, over a real channel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from protos.explore.v1.status_pb2 import GetStatusRequest, GetStatusResponse
from serving.errors import InvalidArgument
from serving.server import Service
from serving.testing import serve
from tests.serving.doubles import raising

BROKEN = b"\xff\xff"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def _messages(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


class _Echo:
    """One method of each kind; the request says with which error it should fail."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def _answer(self) -> GetStatusResponse:
        if self._error is not None:
            raise self._error
        return GetStatusResponse(note="heard")

    async def one_to_many(self, request: GetStatusRequest, context: Any) -> AsyncIterator[GetStatusResponse]:
        yield GetStatusResponse(note="first")
        yield self._answer()

    async def many_to_one(self, requests: AsyncIterator[GetStatusRequest], context: Any) -> GetStatusResponse:
        async for _ in requests:
            pass
        return self._answer()

    async def many_to_many(
        self, requests: AsyncIterator[GetStatusRequest], context: Any
    ) -> AsyncIterator[GetStatusResponse]:
        async for _ in requests:
            yield self._answer()


def _service(error: Exception | None = None) -> Service:
    echo, into, out = _Echo(error), GetStatusRequest.FromString, GetStatusResponse.SerializeToString

    def register(server: grpc.aio.Server) -> None:
        methods = {
            "OneToMany": grpc.unary_stream_rpc_method_handler(echo.one_to_many, into, out),
            "ManyToOne": grpc.stream_unary_rpc_method_handler(echo.many_to_one, into, out),
            "ManyToMany": grpc.stream_stream_rpc_method_handler(echo.many_to_many, into, out),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", methods),))

    return Service((), register)


async def _ask(service: Service, path: str, *messages: bytes) -> list[bytes]:
    """All answers."""
    async with serve(service) as channel:
        if path in ("/Echo/ManyToOne",):
            return [await channel.stream_unary(path, None, None)(_messages(*messages))]
        if path in ("/Echo/OneToMany", WATCH):
            return [answer async for answer in channel.unary_stream(path, None, None)(messages[0])]
        return [answer async for answer in channel.stream_stream(path, None, None)(_messages(*messages))]


ECHOES = ["/Echo/OneToMany", "/Echo/ManyToOne", "/Echo/ManyToMany"]


@pytest.mark.parametrize("path", [*ECHOES, WATCH, REFLECT])
async def test_bytes_that_are_no_message_are_the_callers_mistake(path: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(_service(), path, BROKEN)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"request is not a message that {path} takes"


@pytest.mark.parametrize(("path", "answers"), [(ECHOES[0], 2), (ECHOES[1], 1), (ECHOES[2], 3)])
async def test_good_streams_are_answered(path: str, answers: int) -> None:
    heard = await _ask(_service(), path, b"", b"", b"")
    assert GetStatusResponse.FromString(heard[-1]).note == "heard"
    assert len(heard) == answers


@pytest.mark.parametrize("path", ECHOES)
async def test_our_errors_arrive_with_their_status_and_message(path: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="keep is 0") as caught:
        await _ask(_service(InvalidArgument("keep", "is 0")), path, b"")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("path", ECHOES)
async def test_unexpected_errors_leak_nothing_but_an_incident(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(_service(KeyError("secret")), path, b"")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert (caught.value.details() or "").startswith("internal error, incident ")
    (record,) = (
        each for each in caplog.records if each.name == "serving.interceptors" and each.levelno == logging.ERROR
    )
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


async def test_a_watch_still_tells_what_it_watches() -> None:
    async with serve(raising(KeyError())) as channel:
        watching = channel.unary_stream(WATCH, None, None)(b"")
        assert await watching.read() == b"\x08\x01"  # SERVING
        watching.cancel()


async def test_a_handler_may_go_on_after_bytes_that_are_no_message() -> None:
    async def tolerant(requests: AsyncIterator[GetStatusRequest], context: Any) -> AsyncIterator[GetStatusResponse]:
        while True:
            try:
                await anext(requests)
            except InvalidArgument as error:
                yield GetStatusResponse(note=str(error))
            except StopAsyncIteration:
                return
            else:
                yield GetStatusResponse(note="heard")

    method = grpc.stream_stream_rpc_method_handler(
        tolerant, GetStatusRequest.FromString, GetStatusResponse.SerializeToString
    )
    generic = grpc.method_handlers_generic_handler("Echo", {"ManyToMany": method})
    service = Service((), lambda server: server.add_generic_rpc_handlers((generic,)))
    heard = [GetStatusResponse.FromString(answer).note for answer in await _ask(service, ECHOES[2], b"", BROKEN, b"")]
    assert heard == ["heard", f"request is not a message that {ECHOES[2]} takes", "heard"]
