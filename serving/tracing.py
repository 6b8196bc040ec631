"""Where the running call stands: its place in a trace and its request id, known to everything that runs for it (contextvars).

Knows no exporter: `tracing_otlp.py` is the one that records. Without it every span is NO_SPAN, which costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any, Protocol

Attributes = Mapping[str, str | int | float | bool]
Headers = tuple[tuple[str, str], ...]

UNTRACED = ("/grpc.", "/explore.v1.StatusService/")  # probes and pollers would drown what users ask for
_REQUEST_ID_CHARS = 1024  # a call that several requests share names all of them


class Kind(Enum):
    """What OpenTelemetry calls the kind of a span."""

    INTERNAL = auto()
    CLIENT = auto()
    SERVER = auto()


class Span(Protocol):
    """A piece of work in a trace. `recorded` is False where the trace was not sampled: it then only hands on its context."""

    trace_id: str  # 32 hexadecimal digits, "" if nothing is traced
    span_id: str  # 16 of them
    recorded: bool
    headers: Headers  # of calls made on behalf of it: W3C traceparent

    def child(self, name: str, kind: Kind, attributes: Attributes, links: Sequence[Span]) -> Span:
        """A piece of this work."""

    def set(self, key: str, value: str | int | float | bool) -> None:
        """An attribute."""

    def event(self, name: str) -> None:
        """Something that happened in this moment."""

    def link(self, other: Span) -> None:
        """Says that another span, of another trace perhaps, has to do with this one."""

    def fail(self, error_type: str) -> None:
        """It did not succeed."""

    def end(self) -> None:
        """It is over."""


class UnrecordedSpan:
    """A span that nobody will see, and all of its children."""

    recorded = False

    def __init__(self, trace_id: str = "", span_id: str = "", headers: Headers = ()) -> None:
        self.trace_id, self.span_id, self.headers = trace_id, span_id, headers

    def child(self, name: str, kind: Kind, attributes: Attributes, links: Sequence[Span]) -> Span:
        """Itself."""
        return self

    def set(self, key: str, value: str | int | float | bool) -> None:
        """Forgets it."""

    def event(self, name: str) -> None:
        """Forgets it."""

    def link(self, other: Span) -> None:
        """Forgets it."""

    def fail(self, error_type: str) -> None:
        """Forgets it."""

    def end(self) -> None:
        """Nothing was begun."""


class Tracer(Protocol):
    """Begins the part of a trace that happens in this process."""

    def server_span(self, method: str, metadata: Any) -> Span:
        """The span of a call that has come in, by its metadata a part of the caller's trace. Must be quick and must not raise."""


NO_SPAN: Span = UnrecordedSpan()

_span: ContextVar[Span] = ContextVar("span", default=NO_SPAN)
_request_id: ContextVar[str] = ContextVar("request_id", default="")
_sharing: ContextVar[Sequence[Span]] = ContextVar("sharing", default=())


def current() -> Span:
    """The span of what runs now."""
    return _span.get()


def sampled_trace_id() -> str:
    """The trace that the running call is recorded in; empty if it is not."""
    span = _span.get()
    return span.trace_id if span.recorded else ""


def name_request(request_id: str) -> None:
    """Says which request the running call is a part of, for its log lines and its span. Empty says nothing."""
    if request_id:
        _request_id.set(request_id[:_REQUEST_ID_CHARS])
        _span.get().set("explore.request_id", request_id[:_REQUEST_ID_CHARS])


def log_fields() -> dict[str, str]:
    """What a log line should say of the running call; empty outside of calls."""
    span, request_id = _span.get(), _request_id.get()
    fields = {"request_id": request_id} if request_id else {}
    return fields | {"trace_id": span.trace_id, "span_id": span.span_id} if span.trace_id else fields


def outgoing() -> dict[str, Headers]:
    """Keyword arguments for a gRPC call, so that the other side goes on with the trace; none where nothing is traced."""
    headers = _span.get().headers
    return {"metadata": headers} if headers else {}


@contextmanager
def running(span: Span) -> Iterator[Span]:
    """Everything inside of the block happens in this span, which then ends. An error that leaves the block is noted."""
    token = _span.set(span)
    try:
        yield span
    except asyncio.CancelledError:
        span.event("cancelled")
        raise
    except Exception as error:
        span.fail(type(error).__name__)
        raise
    finally:
        _span.reset(token)
        span.end()


@contextmanager
def step(name: str) -> Iterator[Span]:
    """A piece of the running call."""
    parent = _span.get()
    if not parent.recorded:
        yield parent
        return
    with running(parent.child(name, Kind.INTERNAL, {}, ())) as span:
        yield span


@contextmanager
def shared_with(spans: Sequence[Span]) -> Iterator[None]:
    """The calls made inside of the block are made for these spans, too: they are linked, either way."""
    token = _sharing.set(spans)
    try:
        yield
    finally:
        _sharing.reset(token)


@contextmanager
def calling(method: str, address: str, attempt: str) -> Iterator[Span]:
    """A call to HOST:PORT or unix:PATH. `method` is "package.Service/Method"; `attempt` is "first", "retry" or "hedge"."""
    parent = _span.get()
    if not parent.recorded:
        yield parent
        return
    others = _sharing.get()
    span = parent.child(method, Kind.CLIENT, {**rpc(method, address), "explore.attempt": attempt}, others)
    for other in others:
        other.link(span)
    with running(span):
        yield span


def rpc(method: str, address: str) -> dict[str, str | int]:
    """OpenTelemetry's attributes of a call (semantic conventions for RPC, release candidate): which method, of which server."""
    called: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": method}
    if address.startswith("unix:"):
        return called | {"server.address": address.removeprefix("unix:")}
    host, _, port = address.rpartition(":")
    return called | {"server.address": host.strip("[]"), "server.port": int(port)}
