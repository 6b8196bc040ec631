"""What happens around every unary call: errors become statuses in one place, and every call is measured."""

from __future__ import annotations

import logging
import time
import uuid
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from serving.errors import CallError, InvalidArgument, status_of
from serving.telemetry import Telemetry

Handler = Any  # grpc.RpcMethodHandler is a namedtuple, which its type stubs do not say
Behaviour = Callable[[Any, Any], Awaitable[Any]]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

_log = logging.getLogger(__name__)


class _Undecodable:
    """Stands in for a request whose bytes are no such message."""


if TYPE_CHECKING:
    _ServerInterceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _ServerInterceptor = grpc.aio.ServerInterceptor  # generic in its type stubs only


class UnaryInterceptor(_ServerInterceptor):
    """Wraps unary methods; streams (health watches, reflection) pass untouched: see serving/streams.py."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Handler:
        """gRPC's hook: replaces the behaviour of the method that is about to run."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return self.wrap(handler, handler_call_details.method)

    @abstractmethod
    def wrap(self, handler: Handler, method: str) -> Handler:
        """The handler to use instead."""


class ErrorInterceptor(UnaryInterceptor):
    """Turns the errors of `serving.errors` into statuses, and everything else into INTERNAL with an incident id."""

    def wrap(self, handler: Handler, method: str) -> Handler:
        """The same handler, with its errors translated."""

        async def behaviour(request: Any, context: Any) -> Any:
            try:
                if isinstance(request, _Undecodable):
                    raise InvalidArgument("request", f"is not a message that {method} takes")
                return await handler.unary_unary(request, context)
            except grpc.aio.AbortError:
                raise
            except CallError as error:
                status = status_of(error)
                if status is grpc.StatusCode.INTERNAL:
                    _log.error("call failed", extra={"method": method, "error": str(error)})
                return await context.abort(status, str(error))
            except Exception:
                incident = uuid.uuid4().hex[:12]
                _log.exception("call failed", extra={"incident": incident, "method": method})
                return await context.abort(grpc.StatusCode.INTERNAL, f"internal error, incident {incident}")

        return handler._replace(unary_unary=behaviour, request_deserializer=_lenient(handler.request_deserializer))


class TelemetryInterceptor(UnaryInterceptor):
    """Tells a Telemetry how every unary call ended and how long it took."""

    def __init__(self, telemetry: Telemetry, now: Callable[[], float] = time.perf_counter) -> None:
        self._telemetry = telemetry
        self._now = now

    def wrap(self, handler: Handler, method: str) -> Handler:
        """The same handler, measured."""

        async def behaviour(request: Any, context: Any) -> Any:
            start, status = self._now(), grpc.StatusCode.CANCELLED
            try:
                response = await handler.unary_unary(request, context)
                status = grpc.StatusCode.OK
            except grpc.aio.AbortError as error:
                status = context.code()
                # gRPC keeps the error in a cycle with the call, and its traceback holds the request: megabytes that only the
                # garbage collector would free, in its own time.
                error.__context__ = None
                del request
                raise error.with_traceback(None) from None
            finally:
                self._telemetry.observe_call(method, status.name, self._now() - start)
            return response

        return handler._replace(unary_unary=behaviour)


def _lenient(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """gRPC answers INTERNAL when a deserializer raises, but bytes that are no message are the caller's mistake."""

    def decode(data: bytes) -> Any:
        try:
            return data if deserialize is None else deserialize(data)
        except Exception:
            return _Undecodable()

    return decode
