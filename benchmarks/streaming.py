"""Training from a log ten times as large as the memory that training may use.

`python -m benchmarks.streaming [--events 50_000_000] [--directory DIR] [--quick]` writes a log, weighs what its first events
take in memory as frames and arrays, and trains on all of it in a process that is killed as
soon as its anonymous memory is more than a tenth of what that makes for all. Pages of mapped files do not count: the kernel takes
them back when somebody needs memory.
`--quick` shows in a minute that it works, on a log too small for the tenth to hold anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from benchmarks.report import Result, at_least, at_most, command_line, finish
from benchmarks.streaming_log import LogSize, write_log
from benchmarks.streaming_run import STEP_FILE
from training.contexts import ContextLog
from training.datasets import checked
from training.datasets.contract import EVENTS, MEDIA, USERS
from training.datasets.examples import labelled
from training.datasets.load import read_table
from training.event_log import EventLog

EVENTS_DEFAULT, EVENTS_QUICK = 50_000_000, 1_000_000
SHARE = 0.1  # of what the log takes in memory
QUICK_LIMIT = 1_000_000_000  # libraries alone take a fifth of it
MIN_AUC = 0.6
_WEIGHED = 1_000_000  # events
_EVERY_S = 0.02
_GB = 1e9


@dataclass
class Peaks:
    """The most that the process had at once, bytes."""

    anonymous: int = 0  # heap and the like: what no file backs
    step: str = ""  # at which it was so
    resident: int = 0  # with the pages of mapped files that happened to be in memory


def main() -> int:
    """Writes the log, trains, prints the tables; exit status 1 if a check fails."""
    arguments = _arguments()
    size = LogSize(EVENTS_QUICK, media=20_000) if arguments.quick else LogSize(arguments.events)
    with tempfile.TemporaryDirectory(prefix="explore-streaming-", dir=arguments.directory) as directory:
        root = Path(directory) / "log"
        started_s = time.monotonic()
        write_log(root, size)
        figures: dict[str, Any] = {"written_s": time.monotonic() - started_s, "parquet_bytes": _size(root)}
        weighed = weigh(root)
        figures["in_memory_bytes"] = {part: int(per_event * size.events) for part, per_event in weighed.items()}
        whole = sum(figures["in_memory_bytes"].values())
        limit = QUICK_LIMIT if arguments.quick else int(whole * SHARE)
        figures |= {"log_bytes": whole, "limit_bytes": limit, "max_impressions": arguments.impressions}
        figures |= train(root, limit, arguments.impressions)
    auc = min(figures["auc"][stage]["click"] for stage in ("rerank", "rank")) if "auc" in figures else 0.0
    checks = [
        at_least("finished", float("auc" in figures), 1),
        at_most("peak anonymous memory, share of the limit", figures["peak_bytes"]["anonymous"] / limit, 1),
        at_least("click AUC on the test window, both rankers", auc, MIN_AUC),
    ]
    if not arguments.quick:
        checks.append(
            at_least("log in memory / peak anonymous memory", whole / figures["peak_bytes"]["anonymous"], 1 / SHARE)
        )
    result = Result(
        "streaming_quick" if arguments.quick else "streaming",
        command_line("benchmarks.streaming"),
        figures,
        checks,
        [_table(figures, size.events)],
    )
    return finish(result, tables=None) if arguments.quick else finish(result)


def weigh(root: Path) -> dict[str, float]:
    """Bytes per event that the first events of a log take as frames and arrays, with nothing left on disk."""
    users, media = read_table(root / USERS.file), read_table(root / MEDIA.file)
    dataset = checked(users, media, read_table(root / EVENTS.file, slice(0, _WEIGHED)), name="weighed")
    log = EventLog.from_dataset(dataset)
    contexts = ContextLog(log, dataset.users)
    # What they look up in is made when it is first asked for.
    contexts.seen(0, dataset.as_of_ms)
    contexts.at(log.user_E[:1], log.time_ms_E[:1], [""])
    found = {
        "events as a frame": dataset.events.estimated_size(),
        "events as arrays": _held(vars(log)),
        "events by user": _held({name: value for name, value in vars(contexts).items() if value is not log}),
        "labelled impressions as a frame": labelled(dataset.events).frame.estimated_size(),
    }
    return {part: size / len(log) for part, size in found.items()}


def _held(value: Any) -> int:
    """Bytes of the arrays in dictionaries, lists and tuples."""
    if isinstance(value, dict):
        return sum(_held(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return sum(_held(entry) for entry in value)
    return value.nbytes if isinstance(value, np.ndarray) else 0


def train(root: Path, limit: int, max_impressions: int) -> dict[str, Any]:
    """What the limited process found, with its peaks; without an AUC if it ended badly."""
    out = root.parent / "found.json"
    command = [sys.executable, "-m", "benchmarks.streaming_run", str(root), str(out), str(max_impressions)]
    started_s, peaks = time.monotonic(), Peaks()
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            _watch(process.pid, peaks, root.parent / STEP_FILE)
            if peaks.anonymous > limit:
                process.kill()
            time.sleep(_EVERY_S)
    figures: dict[str, Any] = {
        "wall_s": time.monotonic() - started_s,
        "peak_bytes": vars(peaks),
        "exit": process.returncode,
    }
    return figures | (json.loads(out.read_text("utf-8")) if process.returncode == 0 else {})


def _watch(pid: int, peaks: Peaks, step: Path) -> None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    except OSError:  # it has just ended
        return
    found = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    if "RssAnon" in found:
        anonymous = int(found["RssAnon"][0]) * 1024
        if anonymous > peaks.anonymous:
            peaks.anonymous, peaks.step = anonymous, step.read_text("utf-8") if step.exists() else "start"
        peaks.resident = max(peaks.resident, int(found["VmRSS"][0]) * 1024)


def _size(root: Path) -> int:
    return sum(file.stat().st_size for file in root.iterdir())


def _table(figures: dict[str, Any], events: int) -> Table:
    table = Table(title=f"Training on {events:,} events", box=box.SIMPLE_HEAD)
    table.add_column("figure")
    table.add_column("", justify="right")
    peaks = figures["peak_bytes"]
    gigabytes = {
        "log as Parquet": figures["parquet_bytes"],
        **{f"in memory: {part}": size for part, size in figures["in_memory_bytes"].items()},
        "in memory, all of it": figures["log_bytes"],
        "anonymous memory at which the process is killed": figures["limit_bytes"],
        f"peak anonymous memory ({peaks['step']})": peaks["anonymous"],
        "peak resident memory, pages of mapped files included": peaks["resident"],
        "columns in files, over the whole run": figures.get("columns_bytes", 0),
    }
    for name, size in gigabytes.items():
        table.add_row(name, f"{size / _GB:.2f} GB")
    table.add_row("wall clock", f"{figures['wall_s']:,.0f} s")
    if "auc" in figures:
        table.add_row("CPU", f"{figures['cpu_s']:,.0f} s")
        examples = figures["examples"]
        table.add_row(
            "impressions: train, validation, test", " / ".join(f"{examples[k]:,}" for k in ("train", "valid", "test"))
        )
        for stage in ("rerank", "rank"):
            for task, auc in figures["auc"][stage].items():
                table.add_row(f"AUC of {task}, {stage}", f"{auc:.4f}")
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS_DEFAULT)
    parser.add_argument("--impressions", type=int, help="ranker examples, the most recent ones; 600,000 if not said")
    parser.add_argument("--directory", type=Path, help="where the log and all columns lie; needs 300 bytes per event")
    parser.add_argument(
        "--quick", action="store_true", help=f"{EVENTS_QUICK:,} events under a fixed limit; writes no document"
    )
    arguments = parser.parse_args()
    if arguments.impressions is None:
        arguments.impressions = 100_000 if arguments.quick else 600_000
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
