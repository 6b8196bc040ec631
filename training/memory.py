"""How much memory this machine, or the container around this process, has; and how much of it the process has used.

Knows the kernel's files; knows nothing of what memory is used for.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_BUDGET_SHARE = 4  # a quarter of memory for columns: the rest is for what works on them, and for the kernel's cache
_CGROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def default_budget(root: Path = Path("/")) -> int:
    """Bytes of columns that training keeps in memory unless it is told otherwise."""
    return available_memory(root) // _BUDGET_SHARE


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of the machine's memory, or of its container's limit where that is lower. `root` is where the kernel's files are."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_limit(root / file) for file in _CGROUP_LIMITS]
    return min([machine, *(limit for limit in limits if limit is not None)])


def peak_memory() -> int:
    """The most bytes that this process has had in memory at once, mapped files included as far as they were there."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None  # "max" says that there is none
