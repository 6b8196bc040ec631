"""One floor of benchmarks/cascade.py as a process of its own: reads commands from stdin, writes what came of them to stdout.

`python -m benchmarks.cascade_worker naive|ours|watched BUNDLES IGQL_FILE VALKEY_URL`
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvloop

from benchmarks.cascade_seams import Stopwatch, watch_floor
from benchmarks.floor import Asked, Floor, ids_and_values
from benchmarks.naive import open_naive
from benchmarks.sourcing_world import NOW_MS
from serving.memory import freeze_what_is_loaded, give_back_large_buffers

Pages = list[list[tuple[int, float]]]  # media id and value of every item


class Answers(Protocol):
    """Either floor."""

    async def answer(self, asked: Sequence[Asked], remember: bool) -> Pages: ...

    def seconds(self) -> dict[str, float]: ...

    async def close(self) -> None: ...


class Ours:
    """The product's own stages."""

    def __init__(self, bundles: Path, igql_file: Path, valkey_url: str) -> None:
        self._floor = Floor.open(bundles, igql_file, valkey_url)

    async def answer(self, asked: Sequence[Asked], remember: bool) -> Pages:
        return [ids_and_values(page.items) for page in await self._floor.pages(asked, remember)]

    def seconds(self) -> dict[str, float]:
        return dict(self._floor.seconds)

    async def close(self) -> None:
        await self._floor.close()


class Watched(Ours):
    """The same with a stopwatch at every seam, instead of the wall time of the stages."""

    def __init__(self, bundles: Path, igql_file: Path, valkey_url: str) -> None:
        self._watch = Stopwatch()
        watch_floor(self._watch)
        super().__init__(bundles, igql_file, valkey_url)

    def seconds(self) -> dict[str, float]:
        return dict(self._watch.cpu_s)


class Plain:
    """The naive floor, which knows no batches."""

    def __init__(self, bundles: Path, valkey_url: str) -> None:
        self._naive = open_naive(bundles, valkey_url)

    async def answer(self, asked: Sequence[Asked], remember: bool) -> Pages:
        pages = [await self._naive.page(each.user_id, each.time_ms, remember) for each in asked]
        return [[(item.media_id, item.value) for item in page] for page in pages]

    def seconds(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        await self._naive.close()


@dataclass(frozen=True)
class Load:
    """Ask for pages of `users` in turn, `batch` at a time, for so long."""

    users: list[str]
    seconds: float
    batch: int = 1


async def _load(floor: Answers, load: Load) -> dict[str, Any]:
    """What became of it: requests, CPU time of this process, milliseconds of each request."""
    before, done, ms = floor.seconds(), 0, list[float]()
    start, cpu_s = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - start < load.seconds:
        users = [load.users[(done + place) % len(load.users)] for place in range(load.batch)]
        time_ms = NOW_MS + round((now - start) * 1e3)
        await floor.answer([Asked(user, time_ms) for user in users], True)
        ms.append((time.perf_counter() - now) * 1e3)
        done += load.batch
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    spent = {name: (total - before.get(name, 0.0)) / done * 1e3 for name, total in floor.seconds().items()}
    p50, p99 = np.percentile(ms, [50, 99]).tolist()
    return {"requests": done, "wall_s": wall_s, "cpu_s": cpu_s, "ms": {"p50": p50, "p99": p99}, "stage_ms": spent}


async def _serve(floor: Answers) -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "load":
            found: Any = await _load(floor, Load(**command["load"]))
        else:
            asked = [Asked(user, time_ms, tuple(unseen)) for user, time_ms, unseen in command["asked"]]
            found = [(await floor.answer([each], False))[0] for each in asked]
        print(json.dumps(found), flush=True)
    await floor.close()


async def profiled(floor: Answers, load: Load) -> None:
    """Runs a load under the profiler and prints where the time went."""
    await _load(floor, load)
    profile = cProfile.Profile()
    profile.enable()
    await _load(floor, load)
    profile.disable()
    statistics = pstats.Stats(profile, stream=sys.stderr).strip_dirs()
    statistics.sort_stats("tottime").print_stats(45)
    statistics.sort_stats("cumulative").print_stats(70)


def main() -> None:
    """Serves commands until stdin ends; with a sixth and seventh argument, USERS and BATCH, profiles instead."""
    kind, bundles, igql_file, valkey_url, *profile = sys.argv[1:]
    give_back_large_buffers()  # this and the next as every service does
    freeze_what_is_loaded()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(kind, Path(bundles), Path(igql_file), valkey_url, profile))


async def _run(kind: str, bundles: Path, igql_file: Path, valkey_url: str, profile: Sequence[str]) -> None:
    kinds: dict[str, Callable[[], Answers]] = {
        "naive": lambda: Plain(bundles, valkey_url),
        "ours": lambda: Ours(bundles, igql_file, valkey_url),
        "watched": lambda: Watched(bundles, igql_file, valkey_url),
    }
    floor = kinds[kind]()
    if profile:
        users, batch = (int(word) for word in profile)
        await profiled(floor, Load([f"user-{number}" for number in range(users)], 5.0, batch))
        return
    print(json.dumps("ready"), flush=True)
    await _serve(floor)


if __name__ == "__main__":
    main()
