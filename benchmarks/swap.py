"""Bundles that change under load: nothing fails, no page mixes versions, a bad bundle changes nothing, and no memory stays behind.

A real stack under closed-loop load; `benchmarks.swap_bundles` says how a page shows which version each stage answered from.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
from rich import box
from rich.table import Table

from benchmarks.homes import running_stack, trained_home
from benchmarks.report import TABLES, Result, at_least, at_most, command_line, finish
from benchmarks.swap_bundles import MARKED, Mark, marked, of_other_features, with_a_flipped_byte, without_a_file
from bundles.store import BundleStore
from cli.bundle_switch import Done, Waited, ask, wait_until
from cli.commands.stack import active_manifest
from cli.progress import steps
from cli.stack import VALKEY, RunningStack
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import DegradationReason, GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from training.datasets import load

SWAPS = 20
BAD_AT = (5, 10, 15)  # which of them are bad
WORKERS = 2  # callers; more would only queue on two cores
MOST_ROLLBACK_S = 5.0
MOST_GROWTH = 0.10  # of the memory of all processes, from the fourth swap to the last
PAGE = 25
_GOOD = 4
_PIN_S = 2.0
_SETTINGS = {"BUNDLE_POLL_S": "0.5", "BUNDLE_PIN_S": str(_PIN_S), "FUNNEL_LOG_SHARE": "0"}
_TIMEOUT_S, _PATIENCE_S = 10.0, 30.0
_DEBUG_EVERY = 4  # pages without debug tell only the gateway's version


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-swap-") as scratch:
        home = trained_home(arguments.home, Path(scratch))
        figures = _measured(home, Path(scratch), 0.3 if arguments.quick else 2.0)
    checks = [
        at_most("failed calls", figures["failed"], 0),
        at_most("pages with a stage of another version", figures["mixed"], 0),
        at_least("pages whose stages were told apart", figures["told_apart"], SWAPS),
        at_most("degraded pages", figures["degraded"], 0),
        at_most("pages that are not full", figures["short"], 0),
        at_least("good bundles that served everywhere", figures["served"], SWAPS - len(BAD_AT)),
        at_least("bad bundles refused by name everywhere", figures["refused"], len(BAD_AT)),
        at_most("pages of a bad bundle", figures["bad_pages"], 0),
        at_most("seconds of a rollback", figures["rollback_s"], MOST_ROLLBACK_S),
        at_most("growth of memory", figures["growth"], MOST_GROWTH),
        at_most("files mapped of versions that nobody holds", figures["stale_maps"], 0),
    ]
    name = "swap_quick" if arguments.quick else "swap"
    result = Result(name, command_line("benchmarks.swap"), figures, checks, [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


@dataclass
class _Seen:
    """What came back, written by the thread of the load."""

    marks: dict[str, Mark]
    pages: Counter[str] = field(default_factory=Counter)  # by bundle version
    told_apart: int = 0  # pages on which no mark but their own fits any stage
    mixed: Counter[str] = field(default_factory=Counter)  # by stage
    degraded: Counter[str] = field(default_factory=Counter)  # by stage and reason
    degraded_calls: list[tuple[float, float]] = field(default_factory=list)
    short: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[float, float]] = field(default_factory=list)  # start and seconds of each

    def judge(self, page: GetFeedResponse, call: tuple[float, float]) -> None:
        """One page, and when its call started and how long it took."""
        self.calls.append(call)
        if page.degradations:
            self.degraded_calls.append(call)
        self.pages[page.bundle_version] += 1
        self.short += len(page.items) != PAGE
        for each in page.degradations:
            self.degraded[f"{each.stage} {DegradationReason.Name(each.reason)}: {each.detail}"] += 1
        if page.HasField("debug") and page.bundle_version in self.marks:
            others = [mark.strangers(page) for version, mark in self.marks.items() if version != page.bundle_version]
            self.told_apart += all(found == MARKED for found in others)
            self.mixed.update(self.marks[page.bundle_version].strangers(page))


class _Load(threading.Thread):
    """Closed loop: so many callers, each of which asks for the next page as soon as the one before is there."""

    def __init__(self, address: str, users: list[str], seen: _Seen) -> None:
        super().__init__(name="load", daemon=True)
        self._address, self._users, self.seen = address, users, seen
        self._told_to_end = threading.Event()

    def run(self) -> None:
        asyncio.run(self._run())

    def end(self) -> None:
        """Returns once every call has ended."""
        self._told_to_end.set()
        self.join()

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub, numbers = ExploreServiceStub(channel), count()
            await asyncio.gather(*(self._ask(stub, numbers) for _ in range(WORKERS)))

    async def _ask(self, stub: Any, numbers: Iterator[int]) -> None:
        while not self._told_to_end.is_set():
            number = next(numbers)
            user = self._users[number % len(self._users)]
            request = GetFeedRequest(user_id=user, debug=number % _DEBUG_EVERY == 0)
            start_s = time.monotonic()
            try:
                page = await stub.GetFeed(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                self.seen.failed[f"{error.code().name}: {error.details()}"] += 1
                continue
            self.seen.judge(page, (start_s, time.monotonic() - start_s))


@dataclass
class _Run:
    """One stack whose bundles are swapped."""

    store: BundleStore
    stack: RunningStack
    dwell_s: float
    took_s: list[float] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)  # from each activation until all have switched
    served: int = 0
    refused: int = 0

    def good(self, version: str) -> float:
        """Activates a version that must serve. Returns how long it took."""
        waited = self._activate(version, lambda each: each.versions[:1] == (version,))
        self.served += not waited.behind
        self.took_s.append(waited.seconds)
        return waited.seconds

    def bad(self, version: str) -> None:
        """Activates a version that everybody must refuse."""
        name = f"bundle {version} is refused"
        waited = self._activate(version, lambda each: name in each.note, stops_at="no such note")
        self.refused += not waited.behind and not any(version in each.versions for each in ask(self.stack))

    def _activate(self, version: str, done: Done, stops_at: str = "") -> Waited:
        start_s = time.monotonic()
        self.store.activate(version)
        waited = wait_until(self.stack, done, stops_at or f"bundle {version} is refused", _PATIENCE_S)
        self.windows.append((start_s, time.monotonic()))
        time.sleep(self.dwell_s)  # pages of the new version, before the next one comes
        return waited

    def swaps_in(self, start_s: float, end_s: float) -> bool:
        """Whether a swap was under way at some time in between."""
        return any(start_s <= end and end_s >= start for start, end in self.windows)

    def settle(self) -> float:
        """Waits until pins have run out and every service holds two versions. Returns the memory of all services, in bytes."""
        wait_until(self.stack, lambda each: len(each.versions) <= 2, "no such note", _PATIENCE_S)
        return float(sum(_anonymous_bytes(process.pid) for process in self.stack.processes if process.name != VALKEY))

    def stale_maps(self) -> int:
        """Files of bundles that a service has mapped although it does not hold the bundle."""
        held = {each.service: each.versions for each in ask(self.stack)}
        stale = 0
        for process in self.stack.processes:
            if process.name == VALKEY:
                continue
            lines = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").splitlines()
            mapped = {line.split(maxsplit=5)[-1] for line in lines if str(self.store.root) in line}
            stale += sum(not any(version in path for version in held[process.name]) for path in mapped)
        return stale


def _measured(home: Workspace, scratch: Path, dwell_s: float) -> dict[str, Any]:
    manifest = active_manifest(home)
    store = BundleStore(scratch / "bundles")
    _import(home.bundles(), manifest.version, store)
    good = dict(marked(store, manifest.version, number) for number in range(_GOOD))
    bad = [make(store, manifest.version) for make in (with_a_flipped_byte, without_a_file, of_other_features)]
    users = load(home.dataset(manifest.dataset)).users["user_id"].to_list()
    seen = _Seen(good)
    with (
        running_stack(home, scratch, bundle_root=scratch / "bundles", settings=_SETTINGS) as stack,
        steps() as progress,
        progress.step("swaps") as report,
    ):
        run = _Run(store, stack, dwell_s)
        load_of = _Load(stack.ports.address("gateway"), users, seen)
        load_of.start()
        try:
            before = _swap_all(run, list(good), list(bad), report)
            rollback_s = run.good(store.find("previous"))
            after, stale = run.settle(), run.stale_maps()
        finally:
            load_of.end()
    return _figures(run, seen, bad) | {
        "rollback_s": rollback_s,
        "memory_mb": {"after_swap_4": before / 1e6, "at_the_end": after / 1e6},
        "growth": after / before - 1,
        "stale_maps": stale,
    }


def _swap_all(run: _Run, good: list[str], bad: list[str], report: Any) -> float:
    """SWAPS swaps. Returns the memory after the fourth: by then every service holds two versions and has dropped some."""
    before = 0.0
    for swap in range(1, SWAPS + 1):
        if swap in BAD_AT:
            run.bad(bad.pop(0))
        else:
            run.good(good[swap % len(good)])
        if swap == 4:
            before = run.settle()
        report(swap, SWAPS)
    return before


def _figures(run: _Run, seen: _Seen, bad: list[str]) -> dict[str, Any]:
    during = [run.swaps_in(start, start + took) for start, took in seen.calls]
    ms = np.array([took for _, took in seen.calls]) * 1e3
    return {
        "calls": len(seen.calls) + seen.failed.total(),
        "failed": seen.failed.total(),
        "failures": dict(seen.failed.most_common(5)),
        "pages": dict(seen.pages),
        "told_apart": seen.told_apart,
        "mixed": seen.mixed.total(),
        "mixed_by_stage": dict(seen.mixed),
        "degraded": len(seen.degraded_calls),
        "degraded_while_swapping": sum(run.swaps_in(at_s, at_s + took) for at_s, took in seen.degraded_calls),
        "degradations": dict(seen.degraded.most_common(5)),
        "short": seen.short,
        "bad_pages": sum(seen.pages[version] for version in bad),
        "served": run.served - 1,  # the rollback is none of the swaps
        "refused": run.refused,
        "swap_s": {"median": float(np.median(run.took_s)), "max": max(run.took_s)},
        "page_ms": {"while swapping": _percentiles(ms[during]), "between": _percentiles(ms[np.invert(during)])},
    }


def _import(source: BundleStore, version: str, target: BundleStore) -> None:
    """A store of our own, so that nothing is left in the workspace."""
    target.root.mkdir(parents=True)
    shutil.copytree(source.root / version, target.root / version)
    target.activate(version)


def _anonymous_bytes(pid: int) -> int:
    """Memory that is no file's: what a leak would grow. Mapped files are looked at one by one instead."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def _percentiles(values: Any) -> dict[str, float]:
    return {name: float(np.percentile(values, at)) if len(values) else -1.0 for name, at in (("p50", 50), ("p99", 99))}


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"{SWAPS} swaps under load, {len(BAD_AT)} of them to a bad bundle", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("", justify="right")
    swap, memory, pages = figures["swap_s"], figures["memory_mb"], figures["page_ms"]
    rows = {
        "pages": f"{figures['calls']:,}",
        "pages whose stages were told apart by what they computed": f"{figures['told_apart']:,}",
        "versions that pages came from": f"{len(figures['pages'])}",
        "seconds until all five services had switched": f"{swap['median']:.1f}, at most {swap['max']:.1f}",
        "seconds of the rollback": f"{figures['rollback_s']:.1f}",
        "page ms while swapping, p50 / p99": " / ".join(f"{value:.0f}" for value in pages["while swapping"].values()),
        "page ms between swaps, p50 / p99": " / ".join(f"{value:.0f}" for value in pages["between"].values()),
        "MB of all services after swap 4, and at the end": f"{memory['after_swap_4']:.0f}, {memory['at_the_end']:.0f}",
    }
    for label, value in rows.items():
        table.add_row(label, value)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swap", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less load, and less time between swaps")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
