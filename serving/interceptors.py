"""What happens around every unary call, from the outside in: it is measured, its errors become statuses in one place, it is let in
or sent away, and only then its bytes become a message."""

from __future__ import annotations

import logging
import time
import uuid
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from serving import tracing
from serving.admission import Calls, Door
from serving.errors import CallError, InvalidArgument, Overloaded, status_of
from serving.telemetry import Telemetry
from serving.tracing import NO_SPAN, Span, Tracer

Handler = Any  # grpc.RpcMethodHandler is a namedtuple, which its type stubs do not say
Behaviour = Callable[[Any, Any], Awaitable[Any]]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

PUSHBACK = "grpc-retry-pushback-ms"  # trailing metadata; negative: do not retry

# What OpenTelemetry counts as an error of the server; the others are answers.
_OUR_FAULT = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Ending:
    """When a call was turned away, by the clock of whoever measures it; None for one that was not."""

    now: Callable[[], float]
    at_s: float | None = None


_ending: ContextVar[_Ending | None] = ContextVar("ending", default=None)

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


class OnceInterceptor(_ServerInterceptor):
    """What the interceptors behind this one make of a method is the same for all calls, so they are asked once. Outermost."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}  # of methods that there are: callers cannot make it grow

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Handler:
        """gRPC's hook: the behaviour of the method that is about to run."""
        handler = self._handlers.get(handler_call_details.method)
        if handler is None:
            handler = await continuation(handler_call_details)
            if handler is not None:
                self._handlers[handler_call_details.method] = handler
        return handler


class ErrorInterceptor(UnaryInterceptor):
    """Turns the errors of `serving.errors` into statuses, and everything else into INTERNAL with an incident id."""

    def wrap(self, handler: Handler, method: str) -> Handler:
        """The same handler, with its errors translated."""

        async def behaviour(request: Any, context: Any) -> Any:
            try:
                return await handler.unary_unary(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                return await turn_away(error, method, context)

        return handler._replace(unary_unary=behaviour)


class AdmissionInterceptor(UnaryInterceptor):
    """Lets calls of the services that have a door pass through it; what has none, such as health, always passes."""

    def __init__(self, doors: Mapping[str, Door], calls: Calls) -> None:
        self._doors, self._calls = doors, calls

    def wrap(self, handler: Handler, method: str) -> Handler:
        """The same handler, behind its door. Needs a request that is still bytes: see DecodeInterceptor."""
        door = self._doors.get(method.split("/")[1])
        if door is None or self._calls.passes_by(method):
            return handler

        async def behaviour(data: bytes, context: Any) -> Any:
            async with door.pass_through(self._calls.priority(method, data), context.time_remaining()) as passage:
                tracing.current().event("admitted")
                response = await handler.unary_unary(data, context)
                passage.outcome = self._calls.outcome(response)
            return response

        return handler._replace(unary_unary=behaviour)


class DecodeInterceptor(UnaryInterceptor):
    """Parses a request when it is about to run: parsing what is shed would cost the time that shedding saves.

    It also says INVALID_ARGUMENT to bytes that are no message, where gRPC says INTERNAL.
    """

    def wrap(self, handler: Handler, method: str) -> Handler:
        """The same handler, taking bytes."""
        decode = handler.request_deserializer
        if decode is None:
            return handler

        async def behaviour(data: bytes, context: Any) -> Any:
            try:
                request = decode(data)
            except Exception as error:
                raise InvalidArgument("request", f"is not a message that {method} takes") from error
            tracing.name_request(getattr(request, "request_id", ""))
            return await handler.unary_unary(request, context)

        return handler._replace(unary_unary=behaviour, request_deserializer=None)


class TelemetryInterceptor(UnaryInterceptor):
    """Tells a Telemetry how every unary call ended and how long it took; what happens meanwhile is in the call's span."""

    def __init__(
        self, telemetry: Telemetry, now: Callable[[], float] = time.perf_counter, tracer: Tracer | None = None
    ) -> None:
        self._telemetry, self._now, self._tracer = telemetry, now, tracer

    def wrap(self, handler: Handler, method: str) -> Handler:
        """The same handler, measured."""

        async def behaviour(request: Any, context: Any) -> Any:
            tracer = self._tracer
            span = NO_SPAN if tracer is None else tracer.server_span(method, context.invocation_metadata())
            ending = _Ending(self._now)
            token = _ending.set(ending)
            with tracing.running(span):
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
                    ended = self._now() if ending.at_s is None else ending.at_s
                    self._telemetry.observe_call(method, status.name, ended - start)
                    _say_how_it_ended(span, status)
                    _ending.reset(token)
            return response

        return handler._replace(unary_unary=behaviour)


async def turn_away(error: Exception, method: str, context: Any) -> Any:
    """Ends a call that raised. Its time ends here: gRPC sends the status at once, and what `abort` waits for, as it does not for an
    answer, is the word in a later turn of the event loop that this was done."""
    answer, ending = answer_to(error, method), _ending.get()
    if ending is not None:
        ending.at_s = ending.now()
    return await context.abort(*answer)


def _say_how_it_ended(span: Span, status: grpc.StatusCode) -> None:
    span.set("rpc.response.status_code", status.name)
    if status in _OUR_FAULT:
        span.fail(status.name)


def answer_to(error: Exception, method: str) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Status, detail and trailing metadata of a call that raised. What is our fault is logged."""
    if not isinstance(error, CallError):
        incident = uuid.uuid4().hex[:12]
        _log.error("call failed", exc_info=error, extra={"incident": incident, "method": method})
        return grpc.StatusCode.INTERNAL, f"internal error, incident {incident}", ()
    status = status_of(error)
    if status is grpc.StatusCode.INTERNAL:
        _log.error("call failed", extra={"method": method, "error": str(error)})
    return status, str(error), _pushback(error)


def _pushback(error: CallError) -> tuple[tuple[str, str], ...]:
    """How long to stay away, as gRPC's retry policy (gRFC A6) has servers say it."""
    if not isinstance(error, Overloaded) or error.pushback_ms is None:
        return ()
    return ((PUSHBACK, str(error.pushback_ms)),)
