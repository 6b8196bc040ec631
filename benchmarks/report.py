"""The result of a benchmark: a table for people, JSON for programs, and an exit status. Knows no benchmark."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from cli.console import wide_console

RESULTS = Path(__file__).parent / "results"
TABLES = Path(__file__).parents[1] / "docs" / "benchmarks"
_LIBRARIES = ("faiss-cpu", "grpcio", "numpy", "onnxruntime", "polars", "protobuf", "torch")


@dataclass(frozen=True)
class Check:
    """A figure and the bound it must keep; `bound` is text for people, such as ">= 1.5"."""

    name: str
    value: float
    bound: str
    ok: bool


def at_least(name: str, value: float, bound: float) -> Check:
    """A check that NaN fails."""
    return Check(name, value, f">= {bound:g}", value >= bound)


def at_most(name: str, value: float, bound: float) -> Check:
    """A check that NaN fails."""
    return Check(name, value, f"<= {bound:g}", value <= bound)


@dataclass(frozen=True)
class Result:
    """What a benchmark found. `figures` is plain JSON; `tables` say the same to people."""

    name: str
    command: str
    figures: Mapping[str, Any]
    checks: Sequence[Check]
    tables: Sequence[RenderableType] = ()


def finish(result: Result, results: Path = RESULTS, tables: Path | None = TABLES) -> int:
    """Prints the tables and writes them and the JSON. Exit status: 1 if a check failed. Without `tables` no document changes."""
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{result.name}.json").write_text(
        json.dumps(_described(result), indent=2, allow_nan=False) + "\n", "utf-8"
    )
    shown = [*result.tables, _checks_table(result)]
    wide_console().print(*shown)
    if tables is not None:
        tables.mkdir(parents=True, exist_ok=True)
        (tables / f"{result.name}.md").write_text(_document(result, shown), "utf-8")
    return 0 if all(check.ok for check in result.checks) else 1


def _described(result: Result) -> dict[str, Any]:
    return {
        "benchmark": result.name,
        "command": result.command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"processor": _processor(), "cores": _cores(), "python": platform.python_version()},
        "versions": {library: metadata.version(library) for library in _LIBRARIES},
        "figures": result.figures,
        "checks": [asdict(check) for check in result.checks],
    }


def _document(result: Result, shown: Sequence[RenderableType]) -> str:
    paper = Console(width=110, record=True, file=io.StringIO())
    paper.print(*shown)
    text = "\n".join(line.rstrip() for line in paper.export_text().splitlines())
    about = (
        f"`{result.command}` on {_processor()}, {_cores()} cores; figures in `benchmarks/results/{result.name}.json`."
    )
    return f"# {result.name}\n\n{about}\n\n```\n{text}\n```\n"


def command_line(module: str) -> str:
    """The command that ran, without paths of the machine."""
    return " ".join(["python -m", module, *(argument if "/" not in argument else "PATH" for argument in sys.argv[1:])])


def _checks_table(result: Result) -> Table:
    table = Table(title="Checks", box=box.SIMPLE_HEAD)
    for column in ("check", "value", "bound", ""):
        table.add_column(column, justify="right" if column == "value" else "left")
    for check in result.checks:
        table.add_row(check.name, f"{check.value:.4g}", check.bound, "[green]ok" if check.ok else "[red]failed")
    return table


def _commit() -> str:
    here = Path(__file__).parent
    out = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    )
    return out.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _cores() -> int:
    return len(os.sched_getaffinity(0))
