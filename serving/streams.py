"""What happens around every streamed call (health watches, reflection): errors become statuses, and broken bytes are the caller's.

The unary counterpart is ErrorInterceptor.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from serving.errors import InvalidArgument
from serving.interceptors import Continuation, Handler, answer_to

_STREAMS = ("unary_stream", "stream_unary", "stream_stream")

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

    return partial(_Messages, message) if handler.request_streaming else message


class _Messages:
    """The messages of a stream. Unlike a generator, it goes on after bytes that are none, so a handler may read the next."""

    def __init__(self, parse: Callable[[bytes], Any], stream: AsyncIterator[bytes]) -> None:
        self._parse, self._stream = parse, aiter(stream)

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Any:
        return self._parse(await anext(self._stream))


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
    except Exception as error:
        await context.abort(*answer_to(error, method))
