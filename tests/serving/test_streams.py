"""What a caller of a stream sees when a servicer raises, over a real channel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from serving.errors import InvalidArgument, Overloaded
from serving.server import Service
from serving.testing import serve

NAME = "explore.test.Echo"
METHOD = f"/{NAME}/Stream"
Behaviour = Callable[[AsyncIterator[int], Any], AsyncIterator[int]]


def _service(behaviour: Behaviour) -> Service:
    handler = grpc.stream_stream_rpc_method_handler(behaviour, int, lambda number: str(number).encode())
    generic = grpc.method_handlers_generic_handler(NAME, {"Stream": handler})
    return Service((), lambda server: server.add_generic_rpc_handlers((generic,)))


async def _received(behaviour: Behaviour, *messages: bytes) -> tuple[list[bytes], grpc.aio.AioRpcError | None]:
    found: list[bytes] = []
    async with serve(_service(behaviour)) as channel:
        try:
            async for response in channel.stream_stream(METHOD, None, None)(iter(messages)):
                found.append(response)
        except grpc.aio.AioRpcError as error:
            return found, error
    return found, None


def _raising_after_one(error: Exception) -> Behaviour:
    async def behaviour(requests: AsyncIterator[int], context: Any) -> AsyncIterator[int]:
        yield await anext(requests)
        raise error

    return behaviour


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("events", "is empty"), grpc.StatusCode.INVALID_ARGUMENT),
        (Overloaded("too much"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_our_errors_end_a_stream_with_their_status(error: Exception, status: grpc.StatusCode) -> None:
    found, failure = await _received(_raising_after_one(error), b"5")
    assert found == [b"5"]
    assert failure is not None
    assert (failure.code(), failure.details()) == (status, str(error))


async def test_an_unexpected_error_leaks_nothing_but_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    _, failure = await _received(_raising_after_one(KeyError("secret")), b"5")
    assert failure is not None
    assert failure.code() is grpc.StatusCode.INTERNAL
    incident = (failure.details() or "").removeprefix("internal error, incident ")
    (record,) = [each for each in caplog.records if each.name == "serving.streams" and each.levelno == logging.ERROR]
    assert vars(record)["incident"] == incident


async def test_bytes_that_are_no_message_end_the_stream_of_a_servicer_that_minds() -> None:
    async def echo(requests: AsyncIterator[int], context: Any) -> AsyncIterator[int]:
        async for number in requests:
            yield number

    found, failure = await _received(echo, b"5", b"five", b"6")
    assert found == [b"5"]
    assert failure is not None
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.details() == f"message is not one that {METHOD} takes"


async def test_a_servicer_may_go_on_after_them() -> None:
    async def tolerant(requests: AsyncIterator[int], context: Any) -> AsyncIterator[int]:
        while True:
            try:
                yield await anext(requests)
            except InvalidArgument:
                yield -1
            except StopAsyncIteration:
                return

    assert await _received(tolerant, b"5", b"five", b"6") == ([b"5", b"-1", b"6"], None)
