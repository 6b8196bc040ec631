"""Does a rolling restart of everything cost a request? Two replicas of each service are replaced one after the other, under load.

SIGTERM, drain, end, a new one on the same address, SERVING, a pause as long as a Deployment's minReadySeconds, the next. A closed
loop of pages goes on all the while, over both gateways (round_robin, the client of docs/faults.md). Before that: how long it takes
from nothing running to the first whole page. Replicas are containers of the serve image where `make images` has made it, else
processes.
`python -m benchmarks.rollout [--quick] [--engine podman|docker|process] [--home HOME]`
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich import box
from rich.table import Table
from valkey import Valkey

from benchmarks.engines import COMMANDS, PROCESS, Containers, Engine, Processes, container_command, image_revision
from benchmarks.faults_pages import FULL, Page, pages_until
from benchmarks.homes import trained_home
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from benchmarks.rollout_fleet import Fleet, Restart, fleet_on
from cli.commands.stack import active_manifest, clock_for, users_of
from cli.progress import Report, steps
from cli.workspace import Workspace
from loadtests.retries import CLIENT_OPTIONS
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from training.datasets import load

REPLICAS = 2
CLIENTS = 2  # each asks for the next page when it has the last one
DEADLINE_S = 2.0  # of the client; a gateway has a page, whole or degraded, within its own second
MOST_P99_S = 1.0
MOST_FIRST_PAGE_S = 90.0
_NEVER_S = 1e3  # stands for the latency of pages that were not asked for
MIN_READY_S = 1.5  # clients and gateways try every second, give or take a fifth, to reach what they have lost


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-rollout-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        engine = _engine(arguments.engine, workspace.bundles().root, Path(scratch) / "logs")
        figures = _measured(workspace, engine, Path(scratch), rounds=1 if arguments.quick else 3)
    name = "rollout_quick" if arguments.quick else "rollout"
    result = Result(name, command_line("benchmarks.rollout"), figures, _checks(figures), _tables(figures))
    return finish(result, tables=None if arguments.quick else TABLES)


def _engine(wanted: str | None, bundle_root: Path, logs: Path) -> Engine:
    command = wanted or container_command() or PROCESS
    return Processes(bundle_root, logs) if command == PROCESS else Containers(bundle_root, logs, command)


def _measured(workspace: Workspace, engine: Engine, scratch: Path, rounds: int) -> dict[str, Any]:
    data = workspace.current_dataset()
    users = load(data).users["user_id"].to_list()
    clock = clock_for(active_manifest(workspace))
    begun_s = time.monotonic()
    with fleet_on(engine, REPLICAS, clock, scratch) as (fleet, valkey_url), steps() as progress:
        with progress.step("from nothing to the first page"):
            fleet.start()
            ready_s = time.monotonic()
            _first_page(fleet.gateway_target, users[0], begun_s + MOST_FIRST_PAGE_S)
        first_page_s = time.monotonic() - begun_s
        with Valkey.from_url(valkey_url) as client:
            users_of(data)(client)
        with progress.step("rolling restart") as report:
            pages, restarts = asyncio.run(_roll(fleet, users, rounds, report))
        last_codes = fleet.stop()
    return {
        "engine": engine.name,
        "image_revision": None if engine.name == PROCESS else image_revision(engine.name),
        "replicas": REPLICAS,
        "clients": CLIENTS,
        "deadline_s": DEADLINE_S,
        "min_ready_s": MIN_READY_S,
        "ready_s": ready_s - begun_s,
        "first_page_s": first_page_s,
        **figures_of(pages, restarts),
        "unclean_exits": sum(bool(code) for code in [*(r.exit_code for r in restarts), *last_codes.values()]),
    }


def _first_page(target: str, user: str, until_s: float) -> None:
    """Returns once a page is whole. Raises RuntimeError, with the last answer, if none is in time."""
    said = "nothing"
    with grpc.insecure_channel(target, options=CLIENT_OPTIONS) as channel:
        stub = ExploreServiceStub(channel)
        while time.monotonic() < until_s:
            try:
                page = stub.GetFeed(GetFeedRequest(user_id=user), timeout=DEADLINE_S)
            except grpc.RpcError as error:
                said = f"{error.code().name}: {error.details()}"
                continue
            if len(page.items) == FULL and not page.degradations:
                return
            said = f"{len(page.items)} items, degraded: {[entry.detail for entry in page.degradations]}"
    raise RuntimeError(f"no whole page within {MOST_FIRST_PAGE_S:g} s; the last answer: {said}")


async def _roll(fleet: Fleet, users: Sequence[str], rounds: int, report: Report) -> tuple[list[Page], list[Restart]]:
    """Asks without a break while one replica after the other is replaced, stages first."""
    over = asyncio.Event()
    asking = asyncio.gather(
        *(pages_until(over, fleet.gateway_target, users[client::CLIENTS], DEADLINE_S) for client in range(CLIENTS))
    )
    order = sorted(fleet.replicas, key=lambda name: fleet.replicas[name] == "gateway") * rounds
    restarts = []
    try:
        await asyncio.sleep(MIN_READY_S)
        for done, replica in enumerate(order, start=1):
            restarts.append(await asyncio.to_thread(fleet.replace, replica))
            await asyncio.sleep(
                MIN_READY_S
            )  # what this measures: a rollout goes on after so long, whatever clients know
            report(done, len(order))
    finally:
        over.set()
    return [page for pages in await asking for page in pages], restarts


def figures_of(pages: Sequence[Page], restarts: Sequence[Restart]) -> dict[str, Any]:
    """Plain figures over all pages, and by replica: pages asked for from its SIGTERM to that of the next one."""
    ends = [restart.told_s for restart in restarts[1:]] + [float("inf")]
    return {
        **_summary(pages),
        "restarts": [
            {
                "replica": restart.replica,
                "drain_s": restart.ended_s - restart.told_s,
                "start_s": restart.ready_s - restart.ended_s,
                "exit_code": restart.exit_code,
                **_summary([page for page in pages if restart.told_s <= page.asked_s < end]),
            }
            for restart, end in zip(restarts, ends, strict=True)
        ],
    }


def _summary(pages: Sequence[Page]) -> dict[str, Any]:
    took_s = [page.took_s for page in pages]
    p50_s, p99_s = np.percentile(took_s, [50, 99]).tolist() if took_s else (_NEVER_S, _NEVER_S)
    lost = [page for page in pages if page.status != "OK"]
    return {
        "pages": len(pages),
        "failed": len(lost),
        "failures": sorted({f"{page.status}: {page.detail}" for page in lost})[:5],
        "not_full": sum(page.status == "OK" and page.items < FULL for page in pages),
        "degraded": sum(bool(page.degraded) for page in pages),
        "degradations": sorted({page.detail for page in pages if page.degraded})[:5],
        "p50_s": p50_s,
        "p99_s": p99_s,
    }


def _checks(figures: dict[str, Any]) -> list[Check]:
    return [
        at_least("pages", figures["pages"], 100),
        at_most("failed GetFeed", figures["failed"], 0),
        at_most("pages that were not full", figures["not_full"], 0),
        at_most("p99 of a page, seconds", figures["p99_s"], MOST_P99_S),
        at_most("replicas that did not exit with 0", figures["unclean_exits"], 0),
        at_most("seconds from nothing to the first whole page", figures["first_page_s"], MOST_FIRST_PAGE_S),
    ]


def _tables(figures: dict[str, Any]) -> list[Table]:
    title = f"A rolling restart under load, {figures['replicas']} replicas of each service by {figures['engine']}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("replaced", "drain s", "start s", "exit", "pages", "failed", "degraded", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "replaced" else "right")
    for row in (*figures["restarts"], {"replica": "all", **figures}):
        took = [f"{row[name]:.2f}" if name in row else "" for name in ("drain_s", "start_s")]
        latency = [f"{row[name] * 1e3:.0f}" for name in ("p50_s", "p99_s")]
        counts = [str(row.get(name, "")) for name in ("exit_code", "pages", "failed", "degraded")]
        table.add_row(row["replica"], *took, *counts, *latency)
    return [table]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollout", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once instead of three times")
    parser.add_argument("--engine", choices=(*COMMANDS, PROCESS), help="the one that holds the image if left out")
    parser.add_argument("--home", type=Path, help="a home with a trained bundle; without it a tiny world is trained")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
