"""What happens around every streamed call (health watches, reflection): errors become statuses, and broken bytes are the caller's.

The unary counterpart is ErrorInterceptor.
"""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from serving.errors import CallError, InvalidArgument, status_of
from serving.interceptors import Continuation, Handler

_STREAMS = ("unary_stream", "stream_unary", "stream_stream")

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    _ServerInterceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _ServerInterceptor = grpc.aio.ServerInterceptor  # generic in its type stubs only


class StreamErrorInterceptor(_ServerInterceptor):
    """Gives the handlers of streams messages that it has parsed itself: gRPC says UNKNOWN to bytes that are none."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Handler:
        """gRPC's hook: replaces the behaviour of the method that is about to run."""
        handler = await continuation(handler_call_details)
        kind = next((kind for kind in _STREAMS if handler is not None and getattr(handler, kind) is not None), None)
        if kind is None:
            return handler
        parse = _parser(handler, handler_call_details.method)
        wrapped = _wrapped(getattr(handler, kind), parse, handler_call_details.method)
        return handler._replace(request_deserializer=None, **{kind: wrapped})


def _parser(handler: Handler, method: str) -> Callable[[Any], Any]:
    """From what gRPC hands over to what the handler takes: one message, or an iterator of them."""

    def message(data: bytes) -> Any:
        try:
            return handler.request_deserializer(data)
        except Exception as error:
            raise InvalidArgument("request", f"is not a message that {method} takes") from error

    async def messages(stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in stream:
            yield message(data)

    return messages if handler.request_streaming else message


def _wrapped(behaviour: Callable[..., Any], parse: Callable[[Any], Any], method: str) -> Callable[..., Any]:
    """The same handler, its errors translated. It stays the kind of function that it is: gRPC looks at that."""

    async def answers(request: Any, context: Any) -> AsyncIterator[Any]:
        async with _translated(method, context):
            async for response in behaviour(parse(request), context):
                yield response

    async def answer(request: Any, context: Any) -> Any:
        async with _translated(method, context):
            return await behaviour(parse(request), context)

    return answers if inspect.isasyncgenfunction(behaviour) else answer


@asynccontextmanager
async def _translated(method: str, context: Any) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except CallError as error:
        await context.abort(status_of(error), str(error))
    except Exception:
        incident = uuid.uuid4().hex[:12]
        _log.exception("stream failed", extra={"incident": incident, "method": method})
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error, incident {incident}")
