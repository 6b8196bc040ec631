"""Is acknowledged feedback ever lost, or counted twice? Clients log events while Valkey and the gateway are killed in turn.

Half of the clients call LogEvents, half stream. What is not acknowledged is sent again under the same ids. In the end user state
and the export of the archive are compared with what was sent. SIGKILL ends processes, not the machine: that what is acknowledged
would outlive a power cut rests on Valkey's fsync.
`python -m benchmarks.durability [--quick]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import valkey.asyncio
from rich import box
from rich.table import Table
from valkey import Valkey

from benchmarks.report import TABLES, Result, at_least, at_most, command_line, finish
from cli import processes
from cli.event_export import export_events, exported_events
from cli.processes import Process
from cli.progress import Report, steps
from cli.stack import Ports, launch, start_valkey, wait_for_valkey
from features.actions import Action
from features.user_state import UserStateStore
from protos.explore.v1.feedback_pb2 import Event, LogEventsRequest, StreamEventsRequest, StreamEventsResponse
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub

USERS = 100
BATCH = 10  # events per message
CLIENTS = 4  # every other one streams
WINDOW = 4  # messages that a streaming client has on the way
_RETRY_S, _CALL_S, _GRACE_S = 0.05, 5.0, 5.0
_ACTIONS = [Action.IMPRESSION, Action.CLICK, Action.LIKE, Action.HIDE]
# The gateway opens its port before it has a bundle, and feedback needs none.
_CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    events, kills, limit_s = (2_000, 4, 50.0) if arguments.quick else (10_000, 12, 240.0)
    with tempfile.TemporaryDirectory(prefix="explore-durability-") as scratch, steps() as progress:
        stack = _Stack(Path(scratch), Ports.free())
        stack.start("valkey")
        stack.start("gateway")
        try:
            with progress.step("events") as report:
                run = asyncio.run(_run(stack, _sent(events), kills, limit_s, report))
            figures = _compared(stack, run, Path(scratch) / "export")
        finally:
            stack.stop()
    checks = [
        at_least("acknowledged events", figures["acknowledged"], events),
        at_least("kills of Valkey and of the gateway", figures["kills"], kills),
        at_most("acknowledged events lost from user state", figures["state"]["lost"], 0),
        at_most("events counted twice in user state", figures["state"]["twice"], 0),
        at_most("acknowledged events lost from the export", figures["export"]["lost"], 0),
        at_most("events exported twice", figures["export"]["twice"], 0),
    ]
    name = "durability_quick" if arguments.quick else "durability"
    result = Result(name, command_line("benchmarks.durability"), figures, checks, [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


@dataclass
class _Stack:
    """A Valkey and a gateway, either of which may die."""

    scratch: Path
    ports: Ports
    running: dict[str, Process] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Starts one of the two; for Valkey, until it answers."""
        if name == "valkey":
            process = start_valkey(self.scratch / "valkey", self.ports.valkey, self.scratch / "valkey.log")
            self.running[name] = process
            with Valkey.from_url(self.ports.valkey_url) as client:
                wait_for_valkey(client, process)
            return
        settings = {
            "EXPLORE_LISTEN": self.ports.address("gateway"),
            "EXPLORE_VALKEY_URL": self.ports.valkey_url,
            "EXPLORE_BUNDLE_ROOT": str(self.scratch / "no_bundles"),
        }
        self.running[name] = launch("gateway", self.scratch / "gateway.log", settings)

    def kill(self, name: str) -> None:
        """SIGKILL, and a new process in its place."""
        os.kill(self.running[name].pid, signal.SIGKILL)
        processes.stop([self.running[name]], _GRACE_S)
        self.start(name)

    def stop(self) -> None:
        """Ends both."""
        processes.stop(list(self.running.values()), _GRACE_S)


@dataclass
class _Run:
    """What the clients have to send, and what has become of it."""

    batches: list[list[Event]]
    todo: asyncio.Queue[list[Event]]
    progress: Callable[[int], None]
    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    acknowledge_ms: list[float] = field(default_factory=list)
    kills: int = 0
    sent_again: int = 0
    elapsed_s: float = 0.0

    def done(self, batch: list[Event], start: float) -> None:
        """A message is acknowledged."""
        self.acknowledged |= {(event.user_id, event.event_id) for event in batch}
        self.acknowledge_ms.append((time.perf_counter() - start) * 1e3)
        self.progress(len(self.acknowledged))
        self.todo.task_done()

    def again(self, batch: list[Event]) -> None:
        """A message is not acknowledged: it may be stored, or not."""
        self.sent_again += 1
        self.todo.put_nowait(batch)
        self.todo.task_done()


def _sent(count: int) -> list[list[Event]]:
    now_ms = time.time_ns() // 1_000_000
    events = [
        Event(
            event_id=f"event{number}",
            user_id=f"user{number * 7 % USERS}",
            media_id=1 + number,
            author_id=1 + number % 50,
            action=int(_ACTIONS[number % len(_ACTIONS)]),  # type: ignore[arg-type]
            event_time_ms=now_ms - count + number,
        )
        for number in range(count)
    ]
    return [events[start : start + BATCH] for start in range(0, count, BATCH)]


async def _run(stack: _Stack, batches: list[list[Event]], kills: int, limit_s: float, report: Report) -> _Run:
    total = sum(len(batch) for batch in batches)
    run = _Run(batches, asyncio.Queue(), lambda done: report(done, total))
    for batch in batches:
        run.todo.put_nowait(batch)
    start = time.perf_counter()
    async with grpc.aio.insecure_channel(stack.ports.address("gateway"), options=_CHANNEL) as channel:
        stub = FeedbackServiceStub(channel)
        clients = [_stream(stub, run) if number % 2 else _call(stub, run) for number in range(CLIENTS)]
        tasks = [asyncio.create_task(work) for work in (*clients, _killer(stack, run, kills, total))]
        try:
            await asyncio.wait_for(asyncio.gather(run.todo.join(), tasks[-1]), limit_s)
        except TimeoutError:
            pass  # what is missing fails the checks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    run.elapsed_s = time.perf_counter() - start
    return run


async def _killer(stack: _Stack, run: _Run, kills: int, total: int) -> None:
    """Kills one of the two whenever another part of the events is acknowledged, so that every kill meets clients at work."""
    names = ["valkey", "gateway"]
    for number in range(kills):
        while len(run.acknowledged) < total * (number + 1) / (kills + 1):
            await asyncio.sleep(0.005)
        await asyncio.to_thread(stack.kill, names[number % len(names)])
        run.kills += 1


async def _call(stub: Any, run: _Run) -> None:
    while True:
        batch = await run.todo.get()
        start = time.perf_counter()
        try:
            await stub.LogEvents(LogEventsRequest(events=batch), timeout=_CALL_S)
        except grpc.aio.AioRpcError:
            run.again(batch)
            await asyncio.sleep(_RETRY_S)
        else:
            run.done(batch, start)


async def _stream(stub: Any, run: _Run) -> None:
    """Streams until the stream breaks, then opens another one. Answers come in order, so the oldest message is the one answered."""
    while True:
        on_the_way: deque[tuple[list[Event], float]] = deque()
        call = stub.StreamEvents()
        try:
            while True:
                while not on_the_way or (len(on_the_way) < WINDOW and not run.todo.empty()):
                    on_the_way.append((await run.todo.get(), time.perf_counter()))
                    await call.write(StreamEventsRequest(events=on_the_way[-1][0]))
                answer = await call.read()
                if not isinstance(answer, StreamEventsResponse):
                    break  # the server has ended it
                batch, start = on_the_way.popleft()
                if answer.HasField("refusal"):
                    run.again(batch)
                    await asyncio.sleep(_RETRY_S)
                else:
                    run.done(batch, start)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the latter: written to after it broke
            await asyncio.sleep(_RETRY_S)
        finally:
            call.cancel()
            for batch, _ in on_the_way:
                run.again(batch)


def _compared(stack: _Stack, run: _Run, directory: Path) -> dict[str, Any]:
    """What is stored against what was acknowledged; what was sent without an answer may be stored, once."""
    sent = [event for batch in run.batches for event in batch]
    expected = Counter((event.user_id, int(event.action)) for event in sent)
    sure = Counter(
        (event.user_id, int(event.action)) for event in sent if (event.user_id, event.event_id) in run.acknowledged
    )
    stored = asyncio.run(_stored(stack.ports.valkey_url))
    with Valkey.from_url(stack.ports.valkey_url) as client:
        found = export_events(client, directory, lambda done, total: None)
    exported = Counter(_exported_media(directory))
    media = {event.media_id for event in sent if (event.user_id, event.event_id) in run.acknowledged}
    times_ms = run.acknowledge_ms or [float("inf")]
    return {
        "acknowledged": len(run.acknowledged),
        "kills": run.kills,
        "messages_sent_again": run.sent_again,
        "seconds": run.elapsed_s,
        "acknowledge_ms": {f"p{at}": float(np.percentile(times_ms, at)) for at in (50, 95, 99)},
        "state": {
            "lost": sum((sure - stored).values()),
            "twice": sum((stored - expected).values()),
        },
        "export": {
            "lost": len(media - set(exported)),
            "twice": sum(exported.values()) - len(exported),
            "entries_sent_again": found.duplicates,
        },
    }


async def _stored(url: str) -> Counter[tuple[str, int]]:
    counted: Counter[tuple[str, int]] = Counter()
    async with valkey.asyncio.from_url(url) as client:
        store = UserStateStore(client)
        for number in range(USERS):
            state = await store.read(f"user{number}")
            for action in _ACTIONS:
                counted[f"user{number}", int(action)] = int(state.counts_A[action])
    return counted


def _exported_media(directory: Path) -> list[int]:
    """Every event has a media item of its own."""
    return exported_events(directory)["media_id"].to_list()


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title="Feedback while Valkey and the gateway are killed in turn", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("", justify="right")
    for label, value in (
        ("events acknowledged", f"{figures['acknowledged']:,}"),
        ("kills", f"{figures['kills']}"),
        ("messages sent again", f"{figures['messages_sent_again']:,}"),
        ("entries of the archive that came again", f"{figures['export']['entries_sent_again']:,}"),
        ("seconds in all", f"{figures['seconds']:.1f}"),
        (
            "ms until a message is acknowledged, p50 / p95 / p99",
            " / ".join(f"{figures['acknowledge_ms'][at]:.1f}" for at in ("p50", "p95", "p99")),
        ),
    ):
        table.add_row(label, value)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durability", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events and kills")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
