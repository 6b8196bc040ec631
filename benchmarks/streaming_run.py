"""One training run with all columns in files: `python -m benchmarks.streaming_run LOG OUT IMPRESSIONS`.

Started by benchmarks/streaming.py, which watches its memory from outside. Knows the recipe; judges nothing.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.progress import Report, Steps, steps
from cli.sourcing import open_sourcing
from features.counters import HOUR_MS
from training import pipeline
from training.columns import Scratch
from training.fit import FitConfig
from training.recipes import Recipe, Windows, default
from training.sourcing import CoOccurrenceConfig, IndexConfig, SourcingConfig
from training.stored_log import read_log

STEP_FILE = "step"  # beside the log


class _Noted:
    """Steps whose name is in a file while they run, for the process that watches."""

    def __init__(self, shown: Steps, file: Path) -> None:
        self._shown, self._file = shown, file

    @contextmanager
    def step(self, name: str) -> Iterator[Report]:
        """As `cli.progress.Steps.step`."""
        self._file.write_text(name, "utf-8")
        with self._shown.step(name) as report:
            yield report


def recipe(max_impressions: int) -> Recipe:
    """The default one with one epoch of everything but the student, shorter windows, and sourcing lists that take less time."""
    base, fit = default(), FitConfig(epochs=1)
    return replace(
        base,
        name="streaming",
        windows=Windows(valid_ms=6 * HOUR_MS, test_ms=6 * HOUR_MS),
        max_impressions=max_impressions,
        ig2vec=replace(base.ig2vec, epochs=1),
        sourcing=SourcingConfig(
            media_index=IndexConfig(kind="exact"), co_occurrence=CoOccurrenceConfig(recent_media=20)
        ),
        rerank=replace(base.rerank, fit=fit),
        rank=replace(base.rank, fit=fit),
        n_slates=200,
    )


def run(log: Path, max_impressions: int) -> dict[str, Any]:
    """Trains on the data set `log`, and returns what it cost and what it is worth."""
    with tempfile.TemporaryDirectory(dir=log.parent) as directory, steps() as progress:
        scratch, noted = Scratch(Path(directory) / "scratch", budget=0), _Noted(progress, log.parent / STEP_FILE)
        with noted.step("reading and checking the data set") as report:
            dataset = read_log(log, scratch, report)
        trained = pipeline.train(recipe(max_impressions), dataset, Path(directory) / "bundle", open_sourcing, noted)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "events": len(dataset.log),
        "seconds": progress.seconds,
        "cpu_s": used.ru_utime + used.ru_stime,
        "columns_bytes": scratch.in_files,
        "in_memory_columns_bytes": scratch.in_memory,
        "examples": trained.metrics["examples"],
        "auc": {
            stage: {task: of["auc"] for task, of in trained.metrics[stage].items()} for stage in ("rerank", "rank")
        },
    }


if __name__ == "__main__":
    _log, _out, _impressions = sys.argv[1:]
    Path(_out).write_text(json.dumps(run(Path(_log), int(_impressions))), "utf-8")
