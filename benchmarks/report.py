"""The result of a benchmark: a table for people, JSON for programs, and an exit status. Knows no benchmark."""

from __future__ import annotations

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

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
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


def finish(
    name: str, command: str, figures: Mapping[str, Any], checks: Sequence[Check], out: Path | None = None
) -> int:
    """Prints the checks, writes the JSON and returns the exit status: 1 if a check failed."""
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "benchmark": name,
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"processor": _processor(), "cores": _cores(), "python": platform.python_version()},
        "versions": {library: metadata.version(library) for library in _LIBRARIES},
        "figures": figures,
        "checks": [asdict(check) for check in checks],
    }
    path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    Console().print(_table(name, checks))
    return 0 if all(check.ok for check in checks) else 1


def command_line(module: str) -> str:
    """The command that ran, without paths of the machine."""
    return " ".join(["python -m", module, *(argument if "/" not in argument else "PATH" for argument in sys.argv[1:])])


def _table(name: str, checks: Sequence[Check]) -> Table:
    table = Table(title=f"{name}: checks")
    for column in ("check", "value", "bound", ""):
        table.add_column(column, justify="right" if column == "value" else "left")
    for check in checks:
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
