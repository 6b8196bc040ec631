"""How does the cascade's cost grow? CPU per page against media, candidates, callers and replicas; memory against the catalogue.

`python -m benchmarks.scaling [--quick] [--cache DIR]`. The reference job of benchmarks/cascade.py at several sizes, each with its
own Valkey and its own five services over loopback; all of them take turns. The largest catalogue is left out where memory is short.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks import cascade_tables as shown
from benchmarks.cascade import Job, opened_job
from benchmarks.cascade_servers import Client, Server, five_services
from benchmarks.cascade_ways import Way, take_turns
from benchmarks.cpu_time import resident_mb
from benchmarks.reference import FULL, QUICK, ROOT
from benchmarks.report import TABLES, Check, Result, at_most, command_line, finish
from benchmarks.sourcing_world import Size
from cli.progress import Steps, steps
from cli.stack import SERVICES
from gateway.config import Funnel, StagePlan

CANDIDATES = (250, 500, 1_000)
CALLERS = (1, 2, 4, 8, 16, 32)
REPLICAS = (1, 2)
LOADED = 8  # callers, where something else is varied
RANKING = ("prerank_svc", "rank_svc", "rerank_svc")
# Ten times the media, four times the candidates: how much more may a page cost?
MEDIA_GROWTH, CANDIDATE_GROWTH, CALLER_GROWTH, REPLICA_GROWTH, READY_S = 1.5, 4.0, 1.1, 1.5, 3.0
_GB_FREE = 12.0  # in memory, before the largest catalogue is made


@dataclass(frozen=True)
class Plan:
    """The sizes, and how long each phase takes."""

    media: tuple[int, ...]
    base: Size
    phase_s: float
    rounds: int


FULL_PLAN = Plan((100_000, 1_000_000, 5_000_000), FULL, 5.0, 3)
QUICK_PLAN = Plan((10_000, 50_000), replace(QUICK, users=200), 0.7, 1)


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    plan = QUICK_PLAN if arguments.quick else FULL_PLAN
    plan = replace(plan, media=tuple(media for media in plan.media if media <= FULL.media or _gb_free() > _GB_FREE))
    with steps() as bars:
        figures = _measured(plan, arguments.cache, bars)
    name = "scaling_quick" if arguments.quick else "scaling"
    result = Result(name, command_line("benchmarks.scaling"), figures, _checks(figures), _tables(figures))
    return finish(result, tables=None if arguments.quick else TABLES)


def _measured(plan: Plan, cache: Path, bars: Steps) -> dict[str, Any]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="explore-scaling-")))
        jobs = {
            media: stack.enter_context(opened_job(replace(plan.base, media=media), cache, bars)) for media in plan.media
        }
        clients = {media: _client(stack, job, directory / str(media)) for media, job in jobs.items()}
        with bars.step("starting servers"):
            by_media = {
                media: stack.enter_context(five_services(job.reference, job.valkey_url, one_by_one=True))
                for media, job in jobs.items()
            }
            usual = plan.base.media
            others = {
                count: stack.enter_context(_with_candidates(jobs[usual], count)) for count in CANDIDATES if count != 500
            }
            by_count = {count: others.get(count, by_media[usual]) for count in CANDIDATES}
            twice = stack.enter_context(
                five_services(jobs[usual].reference, jobs[usual].valkey_url, replicas=REPLICAS[-1])
            )
        ways: dict[str, Way] = {
            f"{media:,} media": _way(clients[media], server, plan, LOADED) for media, server in by_media.items()
        }
        ways |= {f"{count} candidates": _way(clients[usual], by_count[count], plan, LOADED) for count in CANDIDATES}
        ways |= {f"{count} callers": _way(clients[usual], by_media[usual], plan, count) for count in CALLERS}
        for count, server in zip(REPLICAS, (by_media[usual], twice), strict=True):
            ways[f"{count} replicas"] = _way(clients[usual], server, plan, CALLERS[-1])
        samples = take_turns(ways, plan.rounds, bars)
        memory = {f"{media:,}": _memory(server) for media, server in by_media.items()}
    return {
        "media": list(plan.media),
        "samples": {name: [shown.plain(each) for each in taken] for name, taken in samples.items()},
        "memory_mb": memory,
        "ready_s": {f"{media:,}": dict(server.ready_s) for media, server in by_media.items()},
    }


def _client(stack: ExitStack, job: Job, directory: Path) -> Client:
    directory.mkdir()
    client = Client(job.users, directory, job.valkey_pid)
    stack.callback(client.close)
    return client


def _with_candidates(job: Job, count: int) -> Any:
    """Five services of which retrieval gives so many; later stages keep as many as ever."""
    usual = Funnel()
    prerank = usual.prerank.model_copy(update={"keep": min(usual.prerank.keep, count)})
    funnel = Funnel(retrieval=StagePlan(keep=count, share=usual.retrieval.share), prerank=prerank)
    return five_services(job.reference, job.valkey_url, {"FUNNEL": funnel.model_dump_json()})


def _way(client: Client, server: Server, plan: Plan, callers: int) -> Way:
    return lambda: client.load(server, plan.phase_s, callers=callers)


def _memory(server: Server) -> dict[str, dict[str, float]]:
    return {process.name: resident_mb(process.pid) for process in server.processes}


def _gb_free() -> float:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) / 1e6


def _checks(figures: dict[str, Any]) -> list[Check]:
    cost_ms = {name: shown.median(taken, "cpu_ms") for name, taken in figures["samples"].items()}
    least, most = (f"{media:,} media" for media in (figures["media"][0], figures["media"][-1]))
    fewest, many = (f"{count} candidates" for count in (CANDIDATES[0], CANDIDATES[-1]))
    alone, together = (f"{count} callers" for count in (CALLERS[0], CALLERS[-1]))
    once, twice = (f"{count} replicas" for count in REPLICAS)
    slowest = max(ready[service] for ready in figures["ready_s"].values() for service in RANKING)
    return [
        at_most(f"CPU per page, {most} / {least}", cost_ms[most] / cost_ms[least], MEDIA_GROWTH),
        at_most(f"CPU per page, {many} / {fewest}", cost_ms[many] / cost_ms[fewest], CANDIDATE_GROWTH),
        at_most(f"CPU per page, {together} / {alone}", cost_ms[together] / cost_ms[alone], CALLER_GROWTH),
        at_most(f"CPU per page, {twice} / {once}", cost_ms[twice] / cost_ms[once], REPLICA_GROWTH),
        at_most("start to ready of a ranking service, s", slowest, READY_S),
    ]


def _tables(figures: dict[str, Any]) -> list[Table]:
    first = next(iter(figures["samples"]))
    memory = Table(title="Memory of a service, MB: of its own / of mapped files", box=box.SIMPLE_HEAD)
    ready = Table(title="Seconds from start to ready", box=box.SIMPLE_HEAD)
    for table in (memory, ready):
        table.add_column("media", justify="right")
        for service in SERVICES:
            table.add_column(service, justify="right")
    for media, by_service in figures["memory_mb"].items():
        sizes = (by_service[service] for service in SERVICES)
        memory.add_row(media, *(f"{size['private']:.0f} / {size['mapped']:.0f}" for size in sizes))
        ready.add_row(media, *(f"{figures['ready_s'][media][service]:.1f}" for service in SERVICES))
    return [shown.ways_table(figures["samples"], first), memory, ready]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two small catalogues, within 60 seconds on two cores")
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / "benchmarks", help="where what is made is kept")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
