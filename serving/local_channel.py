"""A channel to a server of the same process: the same messages, the same interceptors, no bytes and no socket.

What a caller notices of gRPC stays as it is: deadlines, statuses with their details and trailing metadata, cancellation, and the
state of the connection, which is up while the server serves. A message is handed over as it is, so neither side may change one that
it got or gave. Unary calls only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from grpc.aio import Metadata

from serving.interceptors import Handler

Trailing = tuple[tuple[str, str], ...]


class HandlerRecord:
    """Stands in for a gRPC server while a service registers: passes everything on, and remembers the methods."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self.handlers: dict[str, Handler] = {}  # by full method name
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """gRPC's hook for generated code."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """gRPC's hook for generated code."""
        self._server.add_registered_method_handlers(service, handlers)  # type: ignore[attr-defined]
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}


class LocalChannel:
    """What callers use of a `grpc.aio.Channel`, answered by handlers of this process. `is_up` says whether they serve."""

    def __init__(self, handlers: Mapping[str, Handler], is_up: Callable[[], bool]) -> None:
        self._handlers, self._is_up = handlers, is_up

    def unary_unary(self, method: str, *serializers: Any, **named: Any) -> Callable[..., Awaitable[Any]]:
        """The method as a function, as `grpc.aio.Channel.unary_unary` gives it; it serialises nothing."""
        handler = self._handlers.get(method)

        async def call(request: Any, timeout: float | None = None, metadata: Any = None, **named: Any) -> Any:
            if handler is None:
                raise _error(grpc.StatusCode.UNIMPLEMENTED, f"Method not found: {method}")
            return await _answer(handler, request, _Context(timeout, tuple(metadata or ())))

        return call

    def unary_stream(self, method: str, *serializers: Any, **named: Any) -> None:
        """Generated stubs ask for all methods of a service at once; a stream cannot be had here."""

    stream_unary = stream_stream = unary_stream

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """READY while the server serves; there is nothing to connect to."""
        return grpc.ChannelConnectivity.READY if self._is_up() else grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def close(self, grace: float | None = None) -> None:
        """Calls end with the server; nothing is held here."""


class _Context:
    """What handlers and interceptors use of a `grpc.aio.ServicerContext`."""

    def __init__(self, timeout_s: float | None, metadata: tuple[Any, ...] = ()) -> None:
        self.timeout_s, self._metadata = timeout_s, metadata
        self._ends = None if timeout_s is None else time.monotonic() + timeout_s
        self._code: grpc.StatusCode | None = None
        self._details, self._trailing = "", Trailing()

    def time_remaining(self) -> float | None:
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.0)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailing = ()) -> None:
        self._code, self._details, self._trailing = code, details, trailing_metadata
        raise grpc.aio.AbortError(details)

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def invocation_metadata(self) -> tuple[Any, ...]:
        return self._metadata

    def error(self) -> grpc.aio.AioRpcError:
        return _error(self._code or grpc.StatusCode.UNKNOWN, self._details, self._trailing)


async def _answer(handler: Handler, request: Any, context: _Context) -> Any:
    try:
        async with asyncio.timeout(context.timeout_s):
            return await handler.unary_unary(request, context)
    except grpc.aio.AbortError:
        raise context.error() from None
    except TimeoutError:
        raise _error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None


def _error(code: grpc.StatusCode, details: str, trailing: Trailing = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, Metadata(), Metadata(*trailing), details, None)
