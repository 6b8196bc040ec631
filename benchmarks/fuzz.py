"""Can any request bring a service down? 100,000 spoiled requests over all RPCs of the five services of a real stack.

No answer may be INTERNAL or UNKNOWN, no process may end, and none may keep memory. An offending request is written to a file, which
`--replay FILE` sends again. `python -m benchmarks.fuzz [--quick] [--home HOME] [--seed SEED] [--replay FILE]`
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.fuzz_requests import FUZZED, Request, Rpc, all_rpcs
from benchmarks.fuzz_run import Findings, Life, Numbered, channels, lives, send, send_all
from benchmarks.homes import running_stack, trained_home
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.commands.stack import active_manifest
from cli.progress import steps
from cli.stack import SERVICES, RunningStack
from cli.workspace import Workspace
from training.datasets import load

REQUESTS, QUICK_REQUESTS = 100_000, 4_000
MOST_S, QUICK_MOST_S = 3_000.0, 45.0  # then no further requests are sent
MOST_GROWTH = 0.05
_SAVED = Path("var/fuzz")  # offending requests, and the logs of the services
_SAVE_MOST = 20
_ROUNDS = 20
_SETTLE_S, _USERS = 0.5, 50


def main() -> int:
    """Sends, prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-fuzz-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        # The logs of the services stay: they say what lies behind an INTERNAL.
        shutil.rmtree(_SAVED / "run", ignore_errors=True)
        with running_stack(workspace, Path(scratch), run=_SAVED / "run") as stack:
            if arguments.replay is not None:
                return asyncio.run(_replay(stack, arguments.replay))
            return _fuzz(workspace, stack, arguments.quick, arguments.seed)


def _fuzz(workspace: Workspace, stack: RunningStack, quick: bool, seed: int) -> int:
    users = load(workspace.current_dataset()).users["user_id"].to_list()[:_USERS]
    rpcs = all_rpcs(stack.ports, [*users, *FUZZED], active_manifest(workspace).as_of_ms)
    wanted, most_s = (QUICK_REQUESTS, QUICK_MOST_S) if quick else (REQUESTS, MOST_S)
    start = time.monotonic()
    findings, rounds = _sent(stack, rpcs, seed, wanted, most_s)
    _save(findings, seed)
    memory = {name: kept_memory([lives_now[name] for lives_now in rounds]) for name in rounds[0]}
    figures = {
        "seed": seed,
        "requests": findings.sent,
        "seconds": time.monotonic() - start,
        "statuses": _by_rpc(findings),
        "wrong": [f"{spoilt.path} #{spoilt.number}: {problem}" for spoilt, problem in findings.wrong[:_SAVE_MOST]],
        "memory_mb_by_round": {name: [round(each[name].memory / 1e6, 1) for each in rounds] for name in memory},
        "memory_mb": {name: {"warm": warm / 1e6, "end": end / 1e6} for name, (warm, end) in memory.items()},
    }
    result = Result(
        "fuzz_quick" if quick else "fuzz",
        command_line("benchmarks.fuzz"),
        figures,
        _checks(findings, rounds, memory, wanted),
        [_status_table(findings), _memory_table(memory)],
    )
    return finish(result, tables=None if quick else TABLES)


def _sent(
    stack: RunningStack, rpcs: list[Rpc], seed: int, wanted: int, most_s: float
) -> tuple[Findings, list[dict[str, Life]]]:
    """Everything found, and all processes as they were before the first request and after each round of them."""
    findings, rounds = Findings(), [lives(stack)]
    start, size = time.monotonic(), wanted // _ROUNDS
    with steps() as progress, progress.step("spoiled requests") as report:

        def done() -> None:
            report(findings.sent, wanted)

        for round_number in range(_ROUNDS):
            if time.monotonic() - start > most_s:
                break
            numbers = range(round_number * size, (round_number + 1) * size)
            asyncio.run(send_all(stack.ports, rpcs, Numbered(seed, numbers), findings, done))
            time.sleep(_SETTLE_S)  # what the last calls held is given back
            rounds.append(lives(stack))
    return findings, rounds


def _checks(
    findings: Findings, rounds: list[dict[str, Life]], memory: dict[str, tuple[float, float]], wanted: int
) -> list[Check]:
    by_status = Counter[str]()
    for (_, status), count in findings.statuses.items():
        by_status[status] += count
    ended = sum(not all(each[name].same(life) for each in rounds) for name, life in rounds[0].items())
    growth = [at_most(f"memory growth of {name}", _growth(*memory[name]), MOST_GROWTH) for name in SERVICES]
    return [
        at_least("requests sent", findings.sent, wanted),
        at_most("INTERNAL", by_status["INTERNAL"], 0),
        at_most("UNKNOWN", by_status["UNKNOWN"], 0),
        at_most("answers that no request may cause", len(findings.wrong), 0),
        at_most("processes that ended or started again", ended, 0),
        *growth,
    ]


def kept_memory(lives_of_one: list[Life]) -> tuple[float, float]:
    """Bytes after the warm-up and at the end, each the least of a quarter of the rounds.

    A process holds the pieces of a large message until the next calls take their place, so its memory jumps up and down by tens
    of MB in a few seconds. What is never given back raises the least, too.
    """
    samples = [life.memory for life in lives_of_one[1:]] or [lives_of_one[0].memory]
    quarter = max(len(samples) // 4, 1)
    return float(min(samples[quarter : 2 * quarter] or samples)), float(min(samples[-quarter:]))


def _growth(warm: float, end: float) -> float:
    return end / warm - 1 if warm else float("nan")


def _save(findings: Findings, seed: int) -> None:
    for spoilt, problem in findings.wrong[:_SAVE_MOST]:
        path = _SAVED / f"{seed}-{spoilt.number}.json"
        spoilt.save(path, seed, problem)
        Console(stderr=True, soft_wrap=True).print(
            f"seed {seed}, request {spoilt.number}: {problem[:300]}\n  --replay {path}", markup=False
        )


async def _replay(stack: RunningStack, file: Path) -> int:
    """Sends one saved request; exit status 1 if its answer is still wrong."""
    async with channels(stack.ports) as to:
        status, problem = await send(to, Request.load(file))
    Console().print(f"{status} {problem}", markup=False)
    return 1 if problem else 0


def _by_rpc(findings: Findings) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for (rpc, status), count in sorted(findings.statuses.items()):
        table.setdefault(rpc, {})[status] = count
    return table


def _status_table(findings: Findings) -> Table:
    found = _by_rpc(findings)
    statuses = sorted({status for row in found.values() for status in row})
    table = Table(title="Answers to spoiled requests", box=box.SIMPLE_HEAD)
    table.add_column("rpc", no_wrap=True)
    for status in statuses:
        table.add_column(status.replace("_", "_\n").lower(), justify="right")
    for rpc, row in found.items():
        table.add_row(rpc, *(f"{row.get(status, 0):,}" for status in statuses))
    return table


def _memory_table(memory: dict[str, tuple[float, float]]) -> Table:
    """Valkey stands there too, without a check: what it is told to keep, it keeps."""
    table = Table(title="Memory of the processes, MB", box=box.SIMPLE_HEAD)
    for name in ("process", "after the warm-up", "at the end", "growth"):
        table.add_column(name, justify="left" if name == "process" else "right")
    for name, (warm, end) in memory.items():
        table.add_row(name, f"{warm / 1e6:.1f}", f"{end / 1e6:.1f}", f"{_growth(warm, end):+.1%}")
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same requests")
    parser.add_argument("--replay", type=Path, help="send this saved request instead")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
