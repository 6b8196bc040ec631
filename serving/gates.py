"""Who may call: gates that every call passes before anything of it is parsed, queued or computed, streams included.

Unlike admission (serving/admission.py), a gate asks who calls, not whether there is room.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from serving import health
from serving.interceptors import Continuation, Handler, turn_away

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")

if TYPE_CHECKING:
    _ServerInterceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _ServerInterceptor = grpc.aio.ServerInterceptor  # generic in its type stubs only


class Gate:
    """Lets everybody through. `context` is gRPC's; both must be quick."""

    def admit(self, method: str, data: bytes | None, context: Any) -> None:
        """A call has come; `data` is its request, None if that is a stream. Raises CallError to turn it away."""

    async def pace(self, method: str, context: Any) -> None:
        """A message of a streamed request is about to be read: returns when it may be. Raises CallError to end the stream."""


class GateInterceptor(_ServerInterceptor):
    """Asks every gate in turn. Health is open to whoever got as far as a connection: probes and balancers ask it."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = gates

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Handler:
        """gRPC's hook: replaces the behaviour of the method that is about to run."""
        handler, method = await continuation(handler_call_details), handler_call_details.method
        if handler is None or not self._gates or method.split("/")[1] == health.SERVICE_NAME:
            return handler
        kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)
        return handler._replace(**{kind: self._guarded(getattr(handler, kind), method, handler.request_streaming)})

    def _guarded(self, behaviour: Callable[..., Any], method: str, streaming: bool) -> Callable[..., Any]:
        """The same handler, behind the gates. It stays the kind of function that it is: gRPC looks at that."""

        async def enter(request: Any, context: Any) -> Any:
            try:
                for gate in self._gates:
                    gate.admit(method, None if streaming else request, context)
            except Exception as error:  # a gate that fails lets nobody through
                await turn_away(error, method, context)
            return self._paced(request, method, context) if streaming else request

        async def answers(request: Any, context: Any) -> AsyncIterator[Any]:
            async for response in behaviour(await enter(request, context), context):
                yield response

        async def answer(request: Any, context: Any) -> Any:
            return await behaviour(await enter(request, context), context)

        return answers if inspect.isasyncgenfunction(behaviour) else answer

    async def _paced(self, messages: AsyncIterator[Any], method: str, context: Any) -> AsyncIterator[Any]:
        async for message in messages:
            for gate in self._gates:
                await gate.pace(method, context)
            yield message
