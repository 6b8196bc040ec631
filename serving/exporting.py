"""What shows a process to others: metrics over HTTP, with the lag of the event loop, and traces over OTLP. Off by default."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import TimeoutError as NotInTime
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from serving.config import ServiceConfig
from serving.deadline import Clock
from serving.status import software_version
from serving.telemetry import Measure, MemoryTelemetry, Reading, Telemetry
from serving.tracing import Tracer

LAG = Measure(
    "explore_event_loop_lag_seconds", "How much later than it should the event loop came to what was due.", "histogram"
)
_LAG_EVERY_S = 0.25
_TAKE_S = 5.0  # Prometheus gives up after 10 s


@asynccontextmanager
async def exported(config: ServiceConfig, telemetry: MemoryTelemetry) -> AsyncIterator[Tracer | None]:
    """Shows everything while the block runs; gives what begins spans, None if nothing is traced.

    Raises BindError if `metrics_listen` cannot be had.
    """
    async with AsyncExitStack() as stack:
        if config.metrics_listen is not None:
            await stack.enter_async_context(_metrics(config.metrics_listen, telemetry))
        tracer: Tracer | None = None
        if config.otlp_endpoint is not None:
            # Here, because who does not trace should not pay for the SDK.
            from serving.tracing_otlp import Origin, OtlpTracer, to_collector

            origin = Origin(config.service_name, software_version(), config.listen)
            tracer = otlp = OtlpTracer(to_collector(config.otlp_endpoint), config.trace_share, origin)
            stack.push_async_callback(otlp.close)
        yield tracer


@asynccontextmanager
async def _metrics(address: str, telemetry: MemoryTelemetry) -> AsyncIterator[None]:
    from serving.metrics import registry
    from serving.metrics_server import MetricsServer

    lag = asyncio.create_task(measure_lag(telemetry))
    try:
        server = MetricsServer(address, registry(on_loop(asyncio.get_running_loop(), telemetry.readings)))
        try:
            yield
        finally:
            await asyncio.to_thread(server.close)
    finally:
        lag.cancel()
        with suppress(asyncio.CancelledError):
            await lag


def on_loop(loop: asyncio.AbstractEventLoop, take: Callable[[], list[Reading]]) -> Callable[[], list[Reading]]:
    """`take`, for other threads: it runs on the loop, so that it sees nothing half done. Raises Busy if the loop is stuck."""
    from serving.metrics_server import Busy

    async def taken() -> list[Reading]:
        return take()

    def from_thread() -> list[Reading]:
        future = asyncio.run_coroutine_threadsafe(taken(), loop)
        try:
            return future.result(_TAKE_S)
        except NotInTime:
            future.cancel()
            raise Busy(f"the event loop did not answer within {_TAKE_S:g} s") from None

    return from_thread


async def measure_lag(telemetry: Telemetry, now: Clock = time.perf_counter, every_s: float = _LAG_EVERY_S) -> None:
    """Measures until it is cancelled, first at once: a measure that shows up late looks like one that is missing."""
    pause_s = 0.0
    while True:
        due = now() + pause_s
        await asyncio.sleep(pause_s)
        telemetry.observe(LAG, max(now() - due, 0.0))
        pause_s = every_s
