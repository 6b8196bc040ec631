"""A stack for benchmarks of load, what its processes take, and locust runs against it. Everything runs on this machine."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.homes import running_stack
from cli.commands.stack import active_manifest, stack_plan
from cli.stack import Ports, RunningStack, StackPlan
from cli.workspace import Workspace
from loadtests.retries import PATIENCE_S
from training.datasets import load

ROOT = Path(__file__).parents[1]
GRACE_S = 60.0  # a run that takes so much longer than it should has hung
_TICKS = os.sysconf("SC_CLK_TCK")


def planned(workspace: Workspace, scratch: Path, ports: Ports) -> StackPlan:
    """A stack with a Valkey and logs of its own, below `scratch`."""
    plan = stack_plan(workspace, active_manifest(workspace), ports)
    return replace(plan, run=scratch / "run", user_state=scratch / "valkey", funnel_log=scratch / "funnel")


@contextmanager
def started(workspace: Workspace, scratch: Path) -> Iterator[RunningStack]:
    """That stack, on free ports."""
    with running_stack(workspace, scratch, funnel_log=scratch / "funnel") as running:
        yield running


def users_file(workspace: Workspace, scratch: Path) -> Path:
    """The users of the workspace's data, for locust."""
    file = scratch / "users"
    file.write_text("\n".join(load(workspace.current_dataset()).users["user_id"].to_list()), "utf-8")
    return file


def cpu_s(running: RunningStack) -> dict[str, float]:
    """CPU seconds that each process has taken so far."""

    def of(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    return {process.name: of(process.pid) for process in running.processes}


def memory_mb(running: RunningStack) -> dict[str, float]:
    """Resident megabytes of each process, of mapped files too."""

    def of(pid: int) -> float:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6

    return {process.name: of(process.pid) for process in running.processes}


@dataclass(frozen=True)
class Ran:
    """What a locust run came to."""

    verdict: dict[str, Any]  # of `--verdict`
    seconds: float  # for which requests came
    client_cpu_s: float  # of locust, its start included
    cpu_s: dict[str, float]  # of each process of the stack

    def as_json(self) -> dict[str, Any]:
        """Plain JSON. `cores`: on average; `pages_per_core_s`: per second and core of the stack, the client's not counted."""
        return {
            "verdict": self.verdict,
            "seconds": self.seconds,
            "client_cores": self.client_cpu_s / self.seconds,
            "cores": {name: used_s / self.seconds for name, used_s in self.cpu_s.items()},
            "pages_per_core_s": self.verdict["figures"]["pages_full"] / sum(self.cpu_s.values()),
        }


class Locust:
    """Runs loadtests/locustfile.py against a stack."""

    def __init__(self, running: RunningStack, users: Path, scratch: Path, p99_s: float) -> None:
        """`p99_s`: what the 99th percentile of pages may be. Visitors wait longer, PATIENCE_S."""
        self._running, self._scratch, self._number = running, scratch, 0
        self._command = [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py")),
            *("--headless", "--only-summary", "--loglevel", "WARNING", "--seed", "1"),
            *("--host", running.ports.address("gateway"), "--users-file", str(users)),
            *("--deadline", str(PATIENCE_S), "--max-p99-ms", str(p99_s * 1e3)),
        ]

    def run(self, seconds: float, *arguments: str) -> Ran:
        """A run of so many seconds, at most. Raises RuntimeError if it hangs or gives no verdict."""
        self._number += 1
        verdict, log = (self._scratch / f"locust-{self._number}.{kind}" for kind in ("json", "log"))
        command = [*self._command, "--duration", str(seconds), "--verdict", str(verdict), *arguments]
        cpu, client = cpu_s(self._running), _children_s()
        with log.open("w") as out:
            try:
                subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, timeout=seconds + GRACE_S, check=False)
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"locust did not end: {' '.join(command)}") from error
        if not verdict.exists():
            raise RuntimeError(f"locust gave no verdict:\n{log.read_text('utf-8')}")
        used = {name: now - cpu[name] for name, now in cpu_s(self._running).items()}
        return Ran(json.loads(verdict.read_text("utf-8")), seconds, _children_s() - client, used)


def _children_s() -> float:
    """CPU seconds of the child processes that have ended; the stack's have not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
