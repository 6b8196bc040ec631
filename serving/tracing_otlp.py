"""Spans that go to an OpenTelemetry collector over OTLP/gRPC. Imported only where EXPLORE_OTLP_ENDPOINT is set: who does not trace
should not pay for the SDK.

A new trace is recorded with the probability `share`; one that comes with a caller is recorded if the caller records it. Export
happens in a thread of the SDK with a bounded queue: a collector that is away costs spans, never a call.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.tracing import NO_SPAN, UNTRACED, Attributes, Headers, Kind, Span, UnrecordedSpan, rpc

_EXPORT_S = 2.0  # for one batch of spans
_FLUSH_S = 2.0  # for what waits when the process ends; an export that is under way then may take its time
_KINDS = {
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
    Kind.CLIENT: trace.SpanKind.CLIENT,
    Kind.SERVER: trace.SpanKind.SERVER,
}
_HEADERS = ("traceparent", "tracestate")


@dataclass(frozen=True)
class Origin:
    """What spans say of the process that they come from."""

    service: str
    version: str
    address: str  # HOST:PORT that it listens on


class OtlpSpan:
    """A span that is recorded."""

    recorded = True

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        context = span.get_span_context()
        self.trace_id, self.span_id = _ids(context)
        self.headers = _headers(context)

    def child(self, name: str, kind: Kind, attributes: Attributes, links: Sequence[Span]) -> Span:
        """A recorded child; every one of `links` must be an OtlpSpan, others are passed over."""
        found = [trace.Link(each.context) for each in links if isinstance(each, OtlpSpan)]
        parent = trace.set_span_in_context(self._span, Context())
        return OtlpSpan(self._tracer, self._tracer.start_span(name, parent, _KINDS[kind], dict(attributes), found))

    @property
    def context(self) -> trace.SpanContext:
        """As OpenTelemetry has it."""
        return self._span.get_span_context()

    def set(self, key: str, value: str | int | float | bool) -> None:
        """An attribute."""
        self._span.set_attribute(key, value)

    def event(self, name: str) -> None:
        """Something that happened in this moment."""
        self._span.add_event(name)

    def link(self, other: Span) -> None:
        """Says that another span has to do with this one."""
        if isinstance(other, OtlpSpan):
            self._span.add_link(other.context)

    def fail(self, error_type: str) -> None:
        """It did not succeed. The first reason stays: what follows from it is less telling."""
        if "error.type" not in (getattr(self._span, "attributes", None) or {}):
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        """It is over."""
        self._span.end()


class OtlpTracer:
    """The traces of one process."""

    def __init__(self, processor: SpanProcessor, share: float, origin: Origin) -> None:
        """`processor` gets what is recorded: see `to_collector`."""
        resource = Resource.create(
            {"service.name": origin.service, "service.namespace": "explore", "service.version": origin.version}
        )
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("explore", origin.version)
        self._propagator = TraceContextTextMapPropagator()
        self._address = origin.address

    def server_span(self, method: str, metadata: Any) -> Span:
        """The span of a call that came in."""
        if method.startswith(UNTRACED):
            return NO_SPAN
        carrier = {key: value for key, value in metadata or () if key in _HEADERS}
        name = method.removeprefix("/")
        parent = self._propagator.extract(carrier, Context())
        span = self._tracer.start_span(name, parent, trace.SpanKind.SERVER, rpc(name, self._address))
        if span.is_recording():
            return OtlpSpan(self._tracer, span)
        context = span.get_span_context()
        return UnrecordedSpan(*_ids(context), _headers(context))

    async def close(self) -> None:
        """Sends what waits, within some seconds, and ends the thread."""
        await asyncio.to_thread(self._provider.shutdown)


class _Batches(BatchSpanProcessor):
    """The SDK's, but its end is bounded: with a collector that is away, it would try every batch that waits for its full time."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        super().__init__(exporter)
        self._last_call = threading.Timer(_FLUSH_S, exporter.shutdown)
        self._last_call.daemon = True

    def shutdown(self) -> None:
        """Sends what waits, as far as there is time."""
        self._last_call.start()
        super().shutdown()  # type: ignore[no-untyped-call]
        self._last_call.cancel()


def to_collector(endpoint: str) -> SpanProcessor:
    """Batches for the collector at http://HOST:PORT, or https:// with the certificates that the machine trusts."""
    return _Batches(OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=_EXPORT_S))


def _ids(context: trace.SpanContext) -> tuple[str, str]:
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def _headers(context: trace.SpanContext) -> Headers:
    """W3C trace context: version, trace, span, flags."""
    trace_id, span_id = _ids(context)
    parent = ("traceparent", f"00-{trace_id}-{span_id}-{int(context.trace_flags):02x}")
    return (parent, ("tracestate", context.trace_state.to_header())) if context.trace_state else (parent,)
