"""What does telemetry cost? Two stacks on one small world take turns under the same closed load: one shows nothing, one everything.

Everything is metrics in all five services, scraped, and traces at the default share that go to a collector. With `--every`, a third
stack records every request: what following all of them would cost.
`python -m benchmarks.telemetry [--quick] [--every] [--home HOME]`
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from rich import box
from rich.table import Table

from benchmarks.homes import running_stack, trained_home
from benchmarks.report import TABLES, Result, at_least, at_most, command_line, finish
from cli.progress import steps
from cli.stack import SERVICES, RunningStack
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from serving.config import ServiceConfig
from training.datasets import load

MOST_LOST = 0.05  # of the throughput
CALLERS = 4
SCRAPE_S = 5.0  # three times as often as Prometheus does by default
# A limit that is learnt differs from run to run, and a page that is cut short costs less than a whole one.
_STEADY = {
    "LIMIT_FLOOR": "8",
    "LIMIT_CEILING": "8",
    "DEADLINE_S": "10",
    "STATE_TIMEOUT_S": "5",
    "FUNNEL_LOG_SHARE": "0",
}
_TIMEOUT_S = 30.0
_TRACED = (("traceparent", f"00-{'1' * 32}-{'1' * 16}-01"),)


@dataclass(frozen=True)
class Lengths:
    """Seconds of one turn of one stack, and turns."""

    turn_s: float
    turns: int


FULL, QUICK = Lengths(8.0, 19), Lengths(4.0, 3)


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-telemetry-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        figures = _measured(workspace, Path(scratch), QUICK if arguments.quick else FULL, arguments.every)
    checks = [
        at_most("throughput lost with metrics and traces on", figures["on"]["lost"]["median"], MOST_LOST),
        at_most("pages that failed or were degraded", figures["spoilt"], 0),
        at_least("scrapes of five services", figures["on"]["scrapes"], 1),
        at_least("spans that reached the collector", figures["on"]["spans"], 1),
    ]
    name = "telemetry_quick" if arguments.quick else "telemetry"
    result = Result(name, command_line("benchmarks.telemetry"), figures, checks, [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts the spans that it gets."""

    def __init__(self) -> None:
        self.spans = 0

    def Export(self, request: Any, context: Any) -> Any:
        """OTLP's only method."""
        self.spans += sum(len(scope.spans) for group in request.resource_spans for scope in group.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@dataclass
class _Stack:
    """A running stack, and what was measured on it."""

    running: RunningStack
    collector: Collector
    metrics: list[str]  # HOST:PORT of every service; empty where nothing is shown
    pages_s: list[float] = field(default_factory=list)  # pages per second, one figure per turn
    cpu_ms: list[float] = field(default_factory=list)  # of all processes, per page
    spoilt: int = 0
    scrapes: int = 0

    def cpu_s(self) -> float:
        """User and system time of all processes so far."""
        ticks = 0
        for process in self.running.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def turn(self, users: Sequence[str], seconds: float) -> None:
        """Load for so long, with scrapes meanwhile."""
        over = threading.Event()
        scraper = threading.Thread(target=self._scrape, args=(over,))
        scraper.start()
        before = self.cpu_s()
        try:
            pages, spoilt, took_s = asyncio.run(_closed(self.running.ports.address("gateway"), users, seconds))
        finally:
            over.set()
            scraper.join()
        self.pages_s.append(pages / took_s)
        self.cpu_ms.append((self.cpu_s() - before) * 1e3 / max(pages, 1))
        self.spoilt += spoilt

    def page_traced_by_its_caller(self, user: str) -> None:
        """One page whose trace is recorded whatever the share: few pages in a hundred may be none."""
        with grpc.insecure_channel(self.running.ports.address("gateway")) as channel:
            stub: Any = ExploreServiceStub(channel)
            stub.GetFeed(GetFeedRequest(user_id=user, preview=True), timeout=_TIMEOUT_S, metadata=_TRACED)

    def _scrape(self, over: threading.Event) -> None:
        while not over.wait(SCRAPE_S if self.scrapes else 1.0):  # the first one soon, also in a short turn
            for address in self.metrics:
                headers = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}
                request = urllib.request.Request(f"http://{address}/metrics", headers=headers)
                urllib.request.urlopen(request, timeout=_TIMEOUT_S).read()
            self.scrapes += bool(self.metrics)


async def _closed(address: str, users: Sequence[str], seconds: float) -> tuple[int, int, float]:
    """Callers that ask again when they have their page: pages, those that failed or were degraded, and seconds."""
    loop, turn = asyncio.get_running_loop(), itertools.cycle(users)
    pages = spoilt = 0

    async def caller(stub: Any, ends: float) -> None:
        nonlocal pages, spoilt
        while loop.time() < ends:
            try:
                page = await stub.GetFeed(GetFeedRequest(user_id=next(turn), preview=True), timeout=_TIMEOUT_S)
                pages += 1
                spoilt += bool(page.degradations)
            except grpc.aio.AioRpcError:
                spoilt += 1

    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        began = loop.time()
        stub = ExploreServiceStub(channel)
        await asyncio.gather(*(caller(stub, began + seconds) for _ in range(CALLERS)))
        return pages, spoilt, loop.time() - began


def _measured(workspace: Workspace, scratch: Path, lengths: Lengths, every: bool) -> dict[str, Any]:
    users = load(workspace.current_dataset()).users["user_id"].to_list()[:200]
    shares = {"on": ServiceConfig.model_fields["trace_share"].default} | ({"every": 1.0} if every else {})
    with ExitStack() as stack, steps() as progress:
        variants = {"off": stack.enter_context(_started(workspace, scratch / "off", None))}
        for name, share in shares.items():
            variants[name] = stack.enter_context(_started(workspace, scratch / name, share))
        for each in variants.values():
            asyncio.run(_closed(each.running.ports.address("gateway"), users, lengths.turn_s / 2))  # warms up
        with progress.step("turns") as report:
            for turn in range(lengths.turns):
                order = list(variants.values())
                for each in order if turn % 2 else order[::-1]:
                    each.turn(users, lengths.turn_s)
                report(turn + 1, lengths.turns)
        for each in variants.values():
            each.page_traced_by_its_caller(users[0])
    off = variants["off"]
    return {
        "trace_share": shares["on"],
        "spoilt": sum(each.spoilt for each in variants.values()),
        **{
            name: {
                "pages_s": _spread(each.pages_s),
                "cpu_ms": _spread(each.cpu_ms),
                # Turn by turn, side by side.
                "lost": _spread((1 - np.array(each.pages_s) / np.array(off.pages_s)).tolist()),
                "more_cpu": _spread((np.array(each.cpu_ms) / np.array(off.cpu_ms) - 1).tolist()),
                "scrapes": each.scrapes,
                "spans": each.collector.spans,
            }
            for name, each in variants.items()
        },
    }


@contextmanager
def _started(workspace: Workspace, scratch: Path, share: float | None) -> Iterator[_Stack]:
    """A stack that traces this share of its requests and shows metrics; None: neither."""
    collector = Collector()
    with _collecting(collector) as endpoint:
        shown = {"OTLP_ENDPOINT": endpoint, "TRACE_SHARE": str(share), "METRICS_LISTEN": "127.0.0.1:0"}
        settings = _STEADY if share is None else _STEADY | shown
        with running_stack(workspace, scratch, settings=settings) as running:  # sends the last spans when it ends
            logs = scratch / "run" / "logs"
            metrics = [] if share is None else [_metrics_of(logs / f"{name}.log") for name in SERVICES]
            yield _Stack(running, collector, metrics)


@contextmanager
def _collecting(collector: Collector) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _metrics_of(log: Path) -> str:
    """Where a service shows its metrics, as it logged."""
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{"))
    return f"127.0.0.1:{next(line['port'] for line in lines if line['message'] == 'metrics listening')}"


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"Telemetry off and on, {CALLERS} callers", box=box.SIMPLE_HEAD)
    labels = {"off": "off", "on": f"on, {figures['trace_share']:.0%} traced", "every": "on, all traced"}
    names = [name for name in labels if name in figures]
    for column in ("", *(labels[name] for name in names)):
        table.add_column(column, justify="right" if column else "left")

    def shown(key: str, form: str) -> list[str]:
        found = [figures[name][key] for name in names]
        return [f"{each['median']:{form}} [{each['min']:{form}}, {each['max']:{form}}]" for each in found]

    table.add_row("pages per second", *shown("pages_s", ".1f"))
    table.add_row("CPU ms per page, all processes", *shown("cpu_ms", ".1f"))
    table.add_row("more CPU per page, turn by turn", *shown("more_cpu", "+.1%"))
    table.add_row("throughput lost, turn by turn", *shown("lost", "+.1%"))
    for key in ("scrapes", "spans"):
        table.add_row(key, *(f"{figures[name][key]:,}" for name in names))
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--every", action="store_true", help="also a stack that traces every request")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
