"""Where each millisecond of the cascade goes: a service with a stopwatch at every seam, and what all of them spent together.

`python -m benchmarks.cascade_seams SERVICE FILE` serves as `python -m SERVICE` does and writes the sums to FILE when it ends. Times
are CPU times of the thread that works, without what the seams inside take themselves; what no seam saw is gRPC, the event loop and
the client of Valkey. Waiting is wall time. Stopwatches cost about a microsecond each: such a run is no measure of speed.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio._channel

RETRIEVAL, FEATURES, MODEL, SELECTION = "sourcing", "feature assembly", "models", "selection"
PAGE, STATE = "value model, diversity", "user state"
COLUMNS, MESSAGES, JOINING = "columns to messages and back", "(de)serialisation", "joining requests"
REST, VALKEY = "gRPC, event loop, Valkey client", "Valkey"
PARTS = (RETRIEVAL, FEATURES, MODEL, SELECTION, PAGE, STATE, COLUMNS, MESSAGES, JOINING)

# Where a seam is: the module, the name in it (or in a class of it), and the part that it belongs to.
_SHARED = (
    ("serving.stage_model", "StageModel._feed", FEATURES),
    ("serving.stage_model", "StageModel._run", MODEL),
    ("retrieval_svc.engine", "RetrievalEngine.retrieve", RETRIEVAL),
)
_GATEWAY = (
    ("gateway.page", "compose", PAGE),
    ("gateway.pipeline", "compose", PAGE),
    ("features.user_state", "decode", STATE),
    ("features.user_state", "UserState.context", STATE),
    ("features.exposure_records", "encode", STATE),
)
_WIRE = (
    ("serving.wire.ranking", "RankAsk.message", COLUMNS),
    ("serving.wire.ranking", "RankAsk.answer", COLUMNS),
    ("serving.wire.retrieval", "RetrieveAsk.message", COLUMNS),
    ("serving.wire.retrieval", "RetrieveAsk.answer", COLUMNS),
    ("gateway.users", "encode_contexts", COLUMNS),
    ("gateway.servicer", "parse", COLUMNS),
    ("gateway.servicer", "respond", COLUMNS),
    ("serving.ranking", "decode_rank_request", COLUMNS),
    ("serving.ranking", "encode_rank_response", COLUMNS),
    ("serving.ranking", "select", SELECTION),
    ("retrieval_svc.servicer", "decode_retrieve_request", COLUMNS),
    ("retrieval_svc.servicer", "encode_candidates", COLUMNS),
    ("retrieval_svc.servicer", "reports_in_order", COLUMNS),
    ("serving.wire.joining", "RankJoining.key", JOINING),
    ("serving.wire.joining", "RankJoining.join", JOINING),
    ("serving.wire.joining", "RankJoining.part", JOINING),
    ("serving.wire.joining", "RetrieveJoining.key", JOINING),
    ("serving.wire.joining", "RetrieveJoining.join", JOINING),
    ("serving.wire.joining", "RetrieveJoining.part", JOINING),
)
_FLOOR = (("benchmarks.floor", "select", SELECTION), ("benchmarks.floor", "compose", PAGE))
SEAMS = (*_SHARED, *_GATEWAY, *_WIRE, *_FLOOR)
_SERVICES = {
    "gateway": ("gateway.config", "GatewayConfig"),
    "retrieval_svc": ("retrieval_svc.config", "RetrievalConfig"),
    "prerank_svc": ("prerank_svc.config", "PrerankConfig"),
    "rank_svc": ("rank_svc.config", "RankConfig"),
    "rerank_svc": ("rerank_svc.config", "RerankConfig"),
}


class Stopwatch:
    """CPU seconds per part, over all threads, and seconds of waiting by what was waited for."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), threading.local()
        self.cpu_s: dict[str, float] = defaultdict(float)
        self.waited_s: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, measured."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            outer, self._inside.s = getattr(self._inside, "s", 0.0), 0.0
            start = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                with self._lock:
                    self.cpu_s[part] += spent - self._inside.s
                self._inside.s = outer + spent

        return measured

    def waited(self, what: str, seconds: float) -> None:
        """Somebody waited."""
        self.waited_s[what] += seconds
        self.calls[what] += 1

    def figures(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"cpu_s": dict(self.cpu_s), "waited_s": dict(self.waited_s), "calls": dict(self.calls)}


def watch_floor(watch: Stopwatch) -> None:
    """Puts the stopwatch at the seams of our floor."""
    for module, name, part in (*_SHARED, *_FLOOR, *_GATEWAY[2:]):
        _replace(watch, module, name, part)


def watch_services(watch: Stopwatch) -> None:
    """Puts the stopwatch at the seams of all services; each process passes those that are its own."""
    for module, name, part in (*_SHARED, *_GATEWAY[1:], *_WIRE):
        _replace(watch, module, name, part)
    _watch_messages(watch)
    _watch_waiting(watch)


def find(module: str, name: str) -> tuple[Any, str]:
    """The module or class that a seam is in, and its name there. Raises AttributeError for one that is gone."""
    owner: Any = importlib.import_module(module)
    *classes, name = name.split(".")
    for each in classes:
        owner = getattr(owner, each)
    getattr(owner, name)
    return owner, name


def _replace(watch: Stopwatch, module: str, name: str, part: str) -> None:
    owner, name = find(module, name)
    setattr(owner, name, watch.timed(part, getattr(owner, name)))


def _watch_messages(watch: Stopwatch) -> None:
    """What gRPC is given to make bytes of messages and back, on both sides."""
    made, opened = grpc.unary_unary_rpc_method_handler, grpc.aio._channel.Channel.unary_unary

    def messages(convert: Any) -> Any:
        return convert and watch.timed(MESSAGES, convert)

    def handler(behavior: Any, request_deserializer: Any = None, response_serializer: Any = None) -> Any:
        return made(behavior, messages(request_deserializer), messages(response_serializer))

    def unary_unary(
        self: Any,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *more: Any,
        **named: Any,
    ) -> Any:
        return opened(self, method, messages(request_serializer), messages(response_deserializer), *more, **named)

    grpc.unary_unary_rpc_method_handler = handler
    grpc.aio._channel.Channel.unary_unary = unary_unary  # type: ignore[method-assign]


def _watch_waiting(watch: Stopwatch) -> None:
    """Calls as the gateway sees them and as the stages do, and how long work stood before the worker."""
    from serving.channels import RankCalls, RetrieveCalls
    from serving.worker import Worker

    def called(ask: Any, in_stage_us: Callable[[Any], int]) -> Any:
        async def measured(self: Any, request: Any, timeout_s: float) -> Any:
            start = time.perf_counter()
            response = await ask(self, request, timeout_s)
            took = time.perf_counter() - start
            watch.waited(f"{self.stage}: call", took)
            watch.waited(f"{self.stage}: in the stage", in_stage_us(response) / 1e6)
            return response

        return measured

    RankCalls.rank = called(RankCalls.rank, lambda response: response.timing.total_us)  # type: ignore[method-assign]
    RetrieveCalls.retrieve = called(  # type: ignore[method-assign]
        RetrieveCalls.retrieve, lambda response: response.elapsed_us
    )
    run_within = Worker.run_within

    async def queued(self: Any, left_s: float | None, work: Any, *args: Any, **kwargs: Any) -> Any:
        submitted = time.perf_counter()

        def begun(*inner: Any, **named: Any) -> Any:
            watch.waited(f"{self._name}: for the worker", time.perf_counter() - submitted)
            return work(*inner, **named)

        return await run_within(self, left_s, begun, *args, **kwargs)

    Worker.run_within = queued  # type: ignore[method-assign]


def main() -> int:
    """Serves until SIGTERM."""
    service, file = sys.argv[1:]
    watch = Stopwatch()
    watch_services(watch)
    from serving.process import main as serve

    module, name = _SERVICES[service]
    config_class = getattr(importlib.import_module(module), name)
    build = importlib.import_module(f"{service}.__main__").build
    try:
        return serve(config_class, build)
    finally:
        Path(file).write_text(json.dumps(watch.figures()), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
