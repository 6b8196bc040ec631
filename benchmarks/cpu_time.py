"""CPU time and memory of processes, as the kernel counts them. Knows /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of all threads of those processes since they started. In steps of a clock tick, 10 ms."""
    return sum(_of_one(pid) for pid in pids)


def resident_mb(pid: int) -> dict[str, float]:
    """Memory of a process that is in RAM, in MB: of its own (`private`), and of files that others may have mapped too."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    private, mapped = (int(fields[name].split()[0]) / 1e3 for name in ("RssAnon", "RssFile"))
    return {"private": private, "mapped": mapped, "resident": private + mapped}


def _of_one(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
