"""What does dividing retrieval by account cost and bring? The same catalogue in 1, 2 and 4 shards.

Memory of one shard, in a process of its own; CPU time per page of every shard and of merging in the gateway, messages included; and
how many of the candidates of one service over all media the merged answer has, by the default query and by the published program.
`python -m benchmarks.shards [--quick] [--cache DIR]`
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from rich import box
from rich.table import Table

from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from benchmarks.sourcing import PUBLISHED
from benchmarks.sourcing_memory import resident_mb
from benchmarks.sourcing_world import Size, World, make_world
from cli.progress import Report, steps
from features.context import UserContexts
from features.shards import Shard
from gateway.merging import merged
from protos.explore.v1.retrieval_pb2 import RetrieveResponse
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.files import DEFAULT_QUERY
from retrieval_svc.part import part_of
from retrieval_svc.servicer import encode_reports
from serving.ragged import Int64
from serving.wire import decode_lists, decode_retrieve_response, encode_candidates, encode_unmixed

COUNTS, MOST = (1, 2, 4), 4
KEEP = 500
RECALL, MEMORY_SHARE, CPU_SHARE, CPU_TOTAL = 0.95, 0.6, 1.1, 5.0
_MEDIA_COLUMNS = ("_M.npy", "_MA.npy", "_MD.npy", "window_values.npy")
_DEFAULT, _PUBLISHED = "default query", "published program"


@dataclass(frozen=True)
class Memory:
    """What opening one shard and serving all users added to a process that had imported everything."""

    private_mb: float
    accounts_mb: float  # resident pages of the columns and lists of accounts, which every shard has
    media_mb: float  # resident pages of the columns of all media: one service sources from them
    histories_mb: (
        float  # the same in a shard, which only looks up in them what users acted on; the system may take them back
    )

    @property
    def needed_mb(self) -> float:
        return self.private_mb + self.accounts_mb + self.media_mb


@dataclass
class Spent:
    """CPU milliseconds per page of each user, and what shards sent."""

    shard_ms: list[list[float]]  # by shard
    gateway_ms: list[float]
    kilobytes: list[float]  # of all shards

    def figures(self) -> dict[str, float]:
        each = [float(np.median(ms)) for ms in self.shard_ms]
        gateway = float(np.median(self.gateway_ms))
        return {
            "slowest_shard_ms": max(each),
            "all_shards_ms": sum(each),
            "gateway_ms": gateway,
            "total_ms": sum(each) + gateway,
            "kilobytes": float(np.median(self.kilobytes)),
        }


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    size = Size(accounts=8_000, media=40_000, clusters=100, users=8, media_dim=64)
    if not arguments.quick:
        size = Size(accounts=50_000, media=400_000, clusters=250, users=48, media_dim=64)
    world = make_world(size, arguments.cache)
    queries = {_DEFAULT: DEFAULT_QUERY, _PUBLISHED: world.file("published.igql")}
    queries[_PUBLISHED].write_text(PUBLISHED, encoding="utf-8")
    faiss.omp_set_num_threads(1)
    with steps() as bars:
        with bars.step("memory") as report:
            memory = {count: _measured_memory(world, count, report) for count in COUNTS}
        with bars.step("pages") as report:
            answers, spent, opening_s = _answered(world, queries, 1 if arguments.quick else 5, report)
    return _finish(arguments, world, memory, answers, spent, opening_s)


def _measured_memory(world: World, count: int, report: Report) -> Memory:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_measure, (world.directory, count, world.contexts, world.seen_V))
    report(COUNTS.index(count) + 1, len(COUNTS))
    return found


def _measure(directory: Path, count: int, contexts: Sequence[UserContexts], seen: Sequence[Int64]) -> Memory:
    faiss.omp_set_num_threads(1)
    gc.collect()
    before = resident_mb()
    part = part_of(Catalogue.of_files(lambda relative: directory / relative), Shard(0, count))
    engine = RetrievalEngine(part, SourcingConfig())
    for context, seen_ids in zip(contexts, seen, strict=True):
        engine.retrieve(context, [seen_ids], np.array([KEEP]))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    after = resident_mb()
    mapped = {path: mb for path, mb in after.items() if path.startswith(f"{directory}/")}
    media = sum(mb for path, mb in mapped.items() if path.endswith(_MEDIA_COLUMNS))
    own, looked_up = (media, 0.0) if count == 1 else (0.0, media)
    return Memory(after[""] - before[""], sum(mapped.values()) - media, own, looked_up)


class _Sharded:
    """Services of all shards, and the gateway's half, in this process."""

    def __init__(self, whole: Catalogue, query: Path, count: int) -> None:
        self.shards = [Shard(index, count) for index in range(count)]
        config = SourcingConfig(igql_file=query)
        self._engines = [RetrievalEngine(part_of(whole, shard), config) for shard in self.shards]

    def answer(self, context: UserContexts, seen: Int64, spent: Spent) -> list[int]:
        """Media of one page, through the messages that services exchange."""
        messages = []
        for shard, engine in zip(self.shards, self._engines, strict=True):
            start = time.process_time()
            messages.append(_sent(engine, shard, context, seen))
            spent.shard_ms[shard.index].append((time.process_time() - start) * 1e3)
        start = time.process_time()
        found: list[int] = self._received(messages).tolist()
        spent.gateway_ms.append((time.process_time() - start) * 1e3)
        spent.kilobytes.append(sum(map(len, messages)) / 1e3)
        return found

    def _received(self, messages: Sequence[bytes]) -> Int64:
        responses = [RetrieveResponse.FromString(message) for message in messages]
        if len(responses) == 1:
            return decode_retrieve_response(responses[0], "retrieval", [KEEP]).media_id_N
        pairs = zip(responses, self.shards, strict=True)
        lists = [decode_lists(response, "retrieval", 1, shard) for response, shard in pairs]
        return merged(lists, KEEP).candidates.media_id_N


def _sent(engine: RetrievalEngine, shard: Shard, context: UserContexts, seen: Int64) -> bytes:
    response = RetrieveResponse(shard_index=shard.index, shard_count=shard.count)
    if shard.count == 1:
        answer = engine.retrieve(context, [seen], np.array([KEEP]))
        response.candidates.CopyFrom(encode_candidates(answer.candidates))
        response.reports.extend(encode_reports(answer.reports))
    else:
        lists, reports = engine.lists(context, [seen], np.array([KEEP]))
        response.candidates.CopyFrom(encode_candidates(lists.candidates))
        response.unmixed.CopyFrom(encode_unmixed(lists))
        response.reports.extend(encode_reports(reports))
    return response.SerializeToString()


Answers = dict[tuple[str, int], list[list[int]]]  # by query and shards: media of every user


def _answered(
    world: World, queries: dict[str, Path], repeats: int, report: Report
) -> tuple[Answers, dict[tuple[str, int], Spent], float]:
    """All ways side by side, in turns, so that what else the machine does meets all of them."""
    start = time.process_time()
    whole = Catalogue.of_files(world.file)
    ways = {(name, count): _Sharded(whole, query, count) for count in COUNTS for name, query in queries.items()}
    opening_s = time.process_time() - start
    spent = {way: Spent([[] for _ in range(way[1])], [], []) for way in ways}
    answers: Answers = {}
    for repeat in range(repeats + 1):  # the first one only warms up
        answers = defaultdict(list)
        for context, seen in zip(world.contexts, world.seen_V, strict=True):
            for way, sharded in ways.items():
                into = spent[way] if repeat else Spent([[] for _ in range(way[1])], [], [])
                answers[way].append(sharded.answer(context, seen, into))
        report(repeat, repeats)
    return answers, spent, opening_s


def _recall(answers: Answers, query: str, count: int) -> float:
    pairs = zip(answers[query, 1], answers[query, count], strict=True)
    return float(np.mean([len({*one} & {*other}) / max(len(one), 1) for one, other in pairs]))


def _same(answers: Answers, query: str, count: int) -> float:
    """Share of users whose candidates are the same, in the same order."""
    return float(np.mean([a == b for a, b in zip(answers[query, 1], answers[query, count], strict=True)]))


def _finish(
    arguments: argparse.Namespace,
    world: World,
    memory: dict[int, Memory],
    answers: Answers,
    spent: dict[tuple[str, int], Spent],
    opening_s: float,
) -> int:
    cpu = {count: spent[_DEFAULT, count].figures() for count in COUNTS}
    fewer = sum(len(one) > len(other) for one, other in zip(answers[_DEFAULT, 1], answers[_DEFAULT, MOST], strict=True))
    checks: list[Check] = [
        at_least("recall of the default query in 4 shards", _recall(answers, _DEFAULT, MOST), RECALL),
        at_least("users with the same answer, published program in 4 shards", _same(answers, _PUBLISHED, MOST), 1.0),
        at_most("users with fewer candidates in 4 shards", fewer, 0),
        at_most(
            "memory of one of 4 shards / of one service", memory[MOST].needed_mb / memory[1].needed_mb, MEMORY_SHARE
        ),
        at_most(
            "CPU of the slowest of 4 shards / of one service",
            cpu[MOST]["slowest_shard_ms"] / cpu[1]["slowest_shard_ms"],
            CPU_SHARE,
        ),
        at_most("CPU of 4 shards and merging / of one service", cpu[MOST]["total_ms"] / cpu[1]["total_ms"], CPU_TOTAL),
    ]
    rows: list[dict[str, Any]] = [
        {
            "shards": count,
            "memory": {**asdict(memory[count]), "needed_mb": memory[count].needed_mb},
            "cpu": {query: spent[query, count].figures() for query in (_DEFAULT, _PUBLISHED)},
            "recall": {query: _recall(answers, query, count) for query in (_DEFAULT, _PUBLISHED)},
            "same": {query: _same(answers, query, count) for query in (_DEFAULT, _PUBLISHED)},
        }
        for count in COUNTS
    ]
    figures = {"size": asdict(world.size), "keep": KEEP, "opening_cpu_s": opening_s, "shards": rows}
    name = "shards_quick" if arguments.quick else "shards"
    result = Result(name, command_line("benchmarks.shards"), figures, checks, _tables(rows))
    return finish(result, tables=None if arguments.quick else TABLES)


def _tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    memory = Table(title="MB of a service: its own, and mapped", box=box.SIMPLE_HEAD)
    for column in ("shards", "own", "accounts", "media", "histories"):
        memory.add_column(column, justify="right")
    pages = Table(title="A page by the default query, CPU in ms", box=box.SIMPLE_HEAD)
    for column in ("shards", "slowest shard", "all shards", "gateway", "kB", "recall", "same answer", "published"):
        pages.add_column(column, justify="right")
    for row in rows:
        cpu, shards = row["cpu"][_DEFAULT], str(row["shards"])
        held = (row["memory"][f"{name}_mb"] for name in ("private", "accounts", "media", "histories"))
        memory.add_row(shards, *(f"{each:.1f}" for each in held))
        pages.add_row(
            shards,
            *(f"{cpu[name]:.2f}" for name in ("slowest_shard_ms", "all_shards_ms", "gateway_ms")),
            f"{cpu['kilobytes']:.0f}",
            f"{row['recall'][_DEFAULT]:.4f}",
            *(f"{row['same'][query]:.0%}" for query in (_DEFAULT, _PUBLISHED)),
        )
    pages.caption = "same answer: users with the candidates of one service; published: with the published program"
    return [memory, pages]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, within 60 seconds on two cores")
    cache = Path(tempfile.gettempdir()) / "explore-sourcing"
    parser.add_argument("--cache", type=Path, default=cache, help="where built files are kept for the next run")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
