"""Starting, watching and ending child processes by their pid. Knows nothing of what they do.

A process is identified by its pid and its start time, since pids are used again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.05


@dataclass(frozen=True)
class Process:
    """A started process, as written to the run file."""

    name: str
    pid: int
    started: int  # clock ticks since boot, from /proc
    log: str

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return _start_time(self.pid) == self.started


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    settings: Mapping[str, str],
    niceness: int = 0,
    defaults: Mapping[str, str] | None = None,
) -> Process:
    """Starts `command` (an absolute path first) with our environment, `settings` on top of it and `defaults` beneath.

    It gets a process group of its own, so that a Ctrl-C in the terminal reaches only us and we end everything in order. Not a
    session: Linux schedules sessions as groups, and niceness says only who goes first within one. `niceness` is beyond ours.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.posix_spawn(
        command[0],
        list(command),
        {**(defaults or {}), **os.environ, **settings},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
        setsigmask=(),  # we may have blocked signals; a service must hear its SIGTERM
    )
    if niceness:  # before it has threads, which are as nice as the one that starts them
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)  # the system stops at 19
    return Process(name, pid, _start_time(pid) or 0, str(log))


def stop(processes: Sequence[Process], grace_s: float) -> list[Process]:
    """Ends all of them: SIGTERM to all, SIGKILL to those alive after `grace_s`. Returns the ones that had to be killed."""
    for process in {process.pid: process for process in processes}.values():  # services that share one are told once
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    stubborn = _wait_until_gone(processes, deadline)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    _wait_until_gone(stubborn, time.monotonic() + grace_s)
    return stubborn


def last_lines(process: Process, count: int = 8) -> str:
    """The end of a process's log."""
    try:
        lines = Path(process.log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(lines[-count:]) or "(empty log)"


def _wait_until_gone(processes: Sequence[Process], deadline: float) -> list[Process]:
    left = list(processes)
    while left and time.monotonic() < deadline:
        for process in left:
            _reap(process.pid)
        left = [process for process in left if process.alive()]
        if left:
            # Processes that another `explore` started are no children of ours, so there is no event to wait for.
            time.sleep(_POLL_S)
    return left


def _signal(process: Process, number: signal.Signals) -> None:
    if process.alive():
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None if there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else int(fields[19])
