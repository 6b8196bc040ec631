"""What does sourcing cost? The reference job: 200,000 accounts, 1 million media, the published program and three other sources.

CPU time of one core per request, alone and in batches of 8, with and without the optimiser, beside a plain Python loop over objects
that gives the same answer; time per operator; what stays in memory. `python -m benchmarks.sourcing [--quick] [--cache DIR]`
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks import sourcing_tables as shown
from benchmarks.report import TABLES, Check, Result, at_most, command_line, finish
from benchmarks.sourcing_loop import WEIGHTS, Asker, Media, PlainLoop
from benchmarks.sourcing_memory import Memory, measured_memory
from benchmarks.sourcing_world import Size, World, make_world
from cli.progress import Report, steps
from features.context import UserContexts, concatenate
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.execute import Execution
from retrieval_svc.igql.optimise import optimised
from retrieval_svc.igql.plan import Plan
from retrieval_svc.sourced import Sourced, sourced
from serving.ragged import Int64

MS_ALONE, MS_BATCHED, MEMORY_RATIO = 8.0, 4.0, 1.5
COUNT, BATCH = 500, 8
ALONE, BATCHED = "alone", f"in batches of {BATCH}"
LAZY, EAGER = "alone, plan not optimised", "alone, nor lazy"
LOOP = "plain Python loop"
PUBLISHED_ALONE, PUBLISHED_LOOP = "published, alone", "published, plain loop"
# The program that Instagram published ("Powered by AI: Instagram's Explore recommender system", 2019), word for word.
PUBLISHED = """user.let(seed_id=user_id)
    .liked(max_num_to_retrieve=30)
    .account_nn(embedding_config=default)
    .posted_media(max_media_per_account=10)
    .filter(non_recommendable_model_threshold=0.2)
    .rank(ranking_model=default)
    .diversify_by(seed_id, method=round_robin)"""
PROGRAM = f"""published = {PUBLISHED}
engaged = user.liked(max_num_to_retrieve=30).posted_media(max_media_per_account=20).rank(ranking_model=default)
trending = user.trending()
new = user.fresh(max_age=7d, max_num_to_retrieve=2000).sample(100)
mix(published={WEIGHTS[0]}, engaged={WEIGHTS[1]}, trending={WEIGHTS[2]}, new={WEIGHTS[3]})"""

Answer = list[tuple[Any, ...]]  # per media item: its id, and what else the way of asking tells of it


def main() -> int:
    """Builds or finds the world, measures, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    size = Size(accounts=20_000, media=100_000, clusters=100) if arguments.quick else Size()
    world = make_world(size, arguments.cache)
    query = world.file("job.igql")
    query.write_text(PROGRAM, encoding="utf-8")
    with steps() as bars:
        with bars.step("memory"):
            memory = measured_memory(world.directory, query, world.contexts, world.seen_V, COUNT)
        torch.set_num_threads(1)  # what is measured is one core
        faiss.omp_set_num_threads(1)
        with bars.step("opening, objects for the loop"):
            job = _Job(world, RetrievalEngine(Catalogue.of_files(world.file), SourcingConfig(igql_file=query)))
        gc.freeze()  # millions of objects of the loop, which no collection during somebody else's request should visit
        with bars.step("requests") as report:
            measured = _measured(job, size.users, 3 if arguments.quick else 7, report)
    return _finish(arguments, world, job, memory, measured)


class _Job:
    """Every way of asking for the same answer."""

    def __init__(self, world: World, engine: RetrievalEngine) -> None:
        self._world, self.engine = world, engine
        vocabulary = engine.catalogue.vocabulary
        self.plain = compile_query(PROGRAM, vocabulary)
        self.plan = optimised(self.plain)
        self.published = optimised(compile_query(PUBLISHED, vocabulary))
        self._loop = PlainLoop(engine.catalogue)
        self._askers = [Asker.of(context, seen) for context, seen in zip(world.contexts, world.seen_V, strict=True)]
        users = range(len(world.contexts))
        self._batches = {
            tuple(users[start : start + size]): concatenate(world.contexts[start : start + size])
            for size in (1, BATCH)
            for start in range(0, len(users), size)
        }

    def serve(self, users: Sequence[int]) -> Sourced:
        """As the service does it."""
        return self.engine.retrieve(*self._request(users))

    def serve_plain(self, users: Sequence[int], lazy: bool = True) -> Sourced:
        """Without the optimiser."""
        execution = Execution(self.plain, self._run(self.plain, users).run, lazy=lazy)
        return sourced(execution.answer(), self.plain, self.engine.catalogue.items)

    def serve_eagerly(self, users: Sequence[int]) -> Sourced:
        """Without the optimiser, every list read to its end."""
        return self.serve_plain(users, lazy=False)

    def serve_published(self, users: Sequence[int]) -> Sourced:
        """The published program alone."""
        return sourced(self._run(self.published, users).answer(), self.published, self.engine.catalogue.items)

    def loop(self, users: Sequence[int]) -> list[list[Media]]:
        return [self._loop.answer(self._askers[user], COUNT) for user in users]

    def loop_published(self, users: Sequence[int]) -> list[list[Media]]:
        return [self._loop.published(self._askers[user], COUNT) for user in users]

    def traced(self, users: Sequence[int]) -> Execution:
        """One run of the job, for what it says about its steps."""
        execution = self._run(self.plan, users)
        execution.answer()
        return execution

    def _run(self, plan: Plan, users: Sequence[int]) -> Execution:
        return self.engine.execution(plan, *self._request(users))

    def _request(self, users: Sequence[int]) -> tuple[UserContexts, list[Int64], Int64]:
        seen_B = [self._world.seen_V[user] for user in users]
        return self._batches[tuple(users)], seen_B, np.full(len(users), COUNT)


@dataclass(frozen=True)
class Way:
    """One way of asking: for so many users at once."""

    ask: Callable[[Sequence[int]], Any]
    users: int
    once: bool = False  # in the first repeat only: too slow for more


@dataclass(frozen=True)
class Measured:
    """One way of asking. `cpu_ms`: median over users, per repeat. `wall_ms`: every request, or its share of a batch."""

    cpu_ms: tuple[float, ...]
    wall_ms: tuple[float, ...]
    answers: tuple[Answer, ...]  # by user

    @property
    def median_ms(self) -> float:
        return float(np.median(self.cpu_ms))

    def figures(self) -> dict[str, Any]:
        """As the JSON has it."""
        p50, p99 = np.percentile(self.wall_ms, [50, 99]).tolist()
        cpu = {"median": self.median_ms, "min": min(self.cpu_ms), "max": max(self.cpu_ms)}
        return {"cpu_ms": cpu, "wall_ms": {"p50": p50, "p99": p99}}


def _measured(job: _Job, users: int, repeats: int, report: Report) -> dict[str, Measured]:
    """All ways side by side: they take turns every 8 users, so that what else the machine does meets all of them."""
    ways = {
        ALONE: Way(job.serve, 1),
        BATCHED: Way(job.serve, BATCH),
        LAZY: Way(job.serve_plain, 1),
        EAGER: Way(job.serve_eagerly, 1, once=True),
        LOOP: Way(job.loop, 1),
        PUBLISHED_ALONE: Way(job.serve_published, 1),
        PUBLISHED_LOOP: Way(job.loop_published, 1),
    }
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    wall_ms: dict[str, list[float]] = defaultdict(list)
    answers: dict[str, list[Answer]] = {}
    for repeat in range(repeats + 1):  # the first one only warms up: pages, caches
        chosen = [name for name, way in ways.items() if repeat == 1 or not way.once]
        spent_ms: dict[str, list[float]] = defaultdict(list)
        answers |= {name: [] for name in chosen}
        for turn, start in enumerate(range(0, users, BATCH)):
            for place in range(len(chosen)):
                name = chosen[(place + turn + repeat) % len(chosen)]
                way = ways[name]
                for first in range(start, start + BATCH, way.users):
                    wall_s, cpu_s = time.perf_counter(), time.process_time()
                    found = way.ask(range(first, first + way.users))
                    spent_ms[name].append((time.process_time() - cpu_s) / way.users * 1e3)
                    if repeat > 0:
                        wall_ms[name].append((time.perf_counter() - wall_s) / way.users * 1e3)
                    answers[name] += _answers(found)
        for name in chosen if repeat > 0 else ():
            cpu_ms[name].append(float(np.median(spent_ms[name])))
        report(repeat, repeats)
    return {name: Measured(tuple(cpu_ms[name]), tuple(wall_ms[name]), tuple(answers[name])) for name in ways}


def _answers(found: Sourced | list[list[Media]]) -> list[Answer]:
    """What comes out about each media item, by user; of the loop its id."""
    if not isinstance(found, Sourced):
        return [[(each.media_id,) for each in rows] for rows in found]
    columns, offsets = found.candidates, found.candidates.offsets.tolist()
    every = (columns.media_id_N, columns.seed_account_id_N, columns.source_index_N, columns.score_N)
    rows = list(zip(*(column.tolist() for column in every), strict=True))
    return [rows[start:end] for start, end in pairwise(offsets)]


def _different(some: Measured, others: Measured) -> int:
    """Users whose two answers differ in what both ways tell."""
    told = min(len(some.answers[0][0]), len(others.answers[0][0]))
    pairs = zip(some.answers, others.answers, strict=True)
    return sum([row[:told] for row in one] != [row[:told] for row in other] for one, other in pairs)


def _operators(job: _Job, users: int) -> list[dict[str, Any]]:
    """Rows and time of every step of the optimised plan, per request; times alone and in batches."""
    by_step = {step.number: {"step": step.operator.name, "dropped": {}} for step in job.plan.steps()}
    for size, key in ((1, "ms_alone"), (BATCH, "ms_batched")):
        for first in range(0, users, size):
            for number, trace in job.traced(range(first, first + size)).traces.items():
                row: dict[str, Any] = by_step[number]
                row[key] = row.get(key, 0.0) + trace.seconds * 1e3 / users
                if size == BATCH:
                    row["rows_in"] = row.get("rows_in", 0.0) + trace.rows_in / users
                    row["rows_out"] = row.get("rows_out", 0.0) + trace.rows_out / users
                    for reason, count in trace.dropped.items():
                        row["dropped"][reason] = row["dropped"].get(reason, 0.0) + count / users
    return list(by_step.values())


def _finish(
    arguments: argparse.Namespace, world: World, job: _Job, memory: Memory, measured: dict[str, Measured]
) -> int:
    alone, batched, loop = measured[ALONE], measured[BATCHED], measured[LOOP]
    checks: list[Check] = [
        at_most("CPU ms per request, alone", alone.median_ms, MS_ALONE),
        at_most("CPU ms per request, in batches of 8", batched.median_ms, MS_BATCHED),
        at_most("memory / raw vectors and lists", memory.ratio, MEMORY_RATIO),
        at_most("answers that the batch changes", _different(alone, batched), 0),
        at_most("answers that the optimiser changes", _different(alone, measured[LAZY]), 0),
        at_most("answers that laziness changes", _different(measured[LAZY], measured[EAGER]), 0),
        at_most("answers that the plain loop gives otherwise", _different(alone, loop), 0),
        at_most("the same, published program", _different(measured[PUBLISHED_ALONE], measured[PUBLISHED_LOOP]), 0),
    ]
    operators = _operators(job, len(world.contexts))
    requests = {name: each.figures() for name, each in measured.items()}
    figures = {
        "size": asdict(world.size),
        "program": PROGRAM,
        "count": COUNT,
        "candidates_per_user": float(np.mean([len(answer) for answer in alone.answers])),
        "account_index": {"kind": world.index_kind, "recall": world.index_recall},
        "building": [asdict(step) for step in world.built],
        "building_s": sum(step.wall_s for step in world.built),
        "requests": requests,
        "loop_over_alone": loop.median_ms / alone.median_ms,
        "loop_over_batched": loop.median_ms / batched.median_ms,
        "not_optimised_over_alone": measured[LAZY].median_ms / alone.median_ms,
        "eager_over_alone": measured[EAGER].median_ms / alone.median_ms,
        "operators": operators,
        "memory": {**asdict(memory), "raw_mb": memory.raw_mb, "ratio": memory.ratio},
    }
    tables = [
        shown.requests_table(requests, ALONE),
        shown.operators_table(operators),
        shown.memory_table(memory),
        shown.building_table(world),
    ]
    name = "sourcing_quick" if arguments.quick else "sourcing"
    result = Result(name, command_line("benchmarks.sourcing"), figures, checks, tables)
    return finish(result, tables=None if arguments.quick else TABLES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sourcing", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, within 60 seconds on two cores")
    cache = Path(tempfile.gettempdir()) / "explore-sourcing"
    parser.add_argument("--cache", type=Path, default=cache, help="where built files are kept for the next run")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
