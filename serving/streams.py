"""What happens around every call that streams both ways: its errors become statuses, and a message that is none does not end it."""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from serving.errors import CallError, InvalidArgument, status_of

Handler = Any  # grpc.RpcMethodHandler is a namedtuple, which its type stubs do not say
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

_log = logging.getLogger(__name__)


class _Undecodable:
    """Stands in for a message whose bytes are no such message."""


if TYPE_CHECKING:
    _ServerInterceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _ServerInterceptor = grpc.aio.ServerInterceptor  # generic in its type stubs only


class StreamErrorInterceptor(_ServerInterceptor):
    """Turns the errors of `serving.errors` into statuses, and everything else into INTERNAL with an incident id.

    A servicer gets a message that cannot be read as an InvalidArgument from its iterator, and may go on with the next one.
    """

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Handler:
        """gRPC's hook. Only servicers that are async generators are wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None or not inspect.isasyncgenfunction(handler.stream_stream):
            return handler
        method, servicer = handler_call_details.method, handler.stream_stream

        async def behaviour(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            try:
                async for response in servicer(_Messages(requests, method), context):
                    yield response
            except grpc.aio.AbortError:
                raise
            except CallError as error:
                await context.abort(status_of(error), str(error))
            except Exception:
                incident = uuid.uuid4().hex[:12]
                _log.exception("stream failed", extra={"incident": incident, "method": method})
                await context.abort(grpc.StatusCode.INTERNAL, f"internal error, incident {incident}")

        return handler._replace(stream_stream=behaviour, request_deserializer=_lenient(handler.request_deserializer))


class _Messages:
    """The messages of a stream. Unlike a generator, it goes on after it has raised."""

    def __init__(self, messages: AsyncIterator[Any], method: str) -> None:
        self._messages, self._method = messages, method

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Any:
        message = await anext(self._messages)
        if isinstance(message, _Undecodable):
            raise InvalidArgument("message", f"is not one that {self._method} takes")
        return message


def _lenient(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """gRPC ends a stream when a deserializer raises, but bytes that are no message are the caller's mistake."""

    def decode(data: bytes) -> Any:
        try:
            return data if deserialize is None else deserialize(data)
        except Exception:
            return _Undecodable()

    return decode
