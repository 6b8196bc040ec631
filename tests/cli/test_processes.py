"""Child processes: started with their settings, ended by their pid, never mistaken for another process."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli import processes
from cli.processes import Process

SLEEPER = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)


def _start(code: str, log: Path, settings: dict[str, str] | None = None) -> Process:
    return processes.start("sleeper", [sys.executable, "-c", code], log, settings or {})


def _wait_for_output(process: Process) -> None:
    while "up" not in Path(process.log).read_text():
        assert process.alive()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "sleeper.log"


def test_a_started_process_is_alive_and_a_stopped_one_is_gone(log: Path) -> None:
    process = _start(SLEEPER, log)
    _wait_for_output(process)
    assert (process.alive(), processes.stop([process], grace_s=30), process.alive()) == (True, [], False)


def test_a_process_that_ignores_sigterm_is_killed_and_named(log: Path) -> None:
    process = _start(STUBBORN, log)
    _wait_for_output(process)
    assert (processes.stop([process], grace_s=0.1), process.alive()) == ([process], False)


def test_settings_reach_the_process_beside_our_environment(log: Path) -> None:
    process = _start("import os; print(os.environ['EXPLORE_X'], 'PATH' in os.environ)", log, {"EXPLORE_X": "7"})
    os.waitpid(process.pid, 0)
    assert processes.last_lines(process) == "7 True"


def test_defaults_hold_where_neither_our_environment_nor_the_settings_say_more(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "ours")
    defaults = dict.fromkeys(("OURS", "SET", "LEFT"), "default")
    code = "import os; print(*(os.environ[name] for name in ('OURS', 'SET', 'LEFT')))"
    process = processes.start("sleeper", [sys.executable, "-c", code], log, {"SET": "set"}, defaults=defaults)
    os.waitpid(process.pid, 0)
    assert processes.last_lines(process) == "ours set default"


def test_a_process_is_as_much_nicer_than_we_are_as_it_is_told_and_its_threads_too(log: Path) -> None:
    code = """
import os, threading
thread = threading.Thread(target=lambda: print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
thread.start()
thread.join()
"""
    process = processes.start("sleeper", [sys.executable, "-c", code], log, {}, niceness=3)
    os.waitpid(process.pid, 0)
    assert processes.last_lines(process) == str(min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19))


def test_a_process_has_a_group_of_its_own_in_our_session(log: Path) -> None:
    process = _start(SLEEPER, log)
    assert (os.getpgid(process.pid), os.getsid(process.pid)) == (process.pid, os.getsid(0))
    processes.stop([process], grace_s=30)


def test_a_recycled_pid_is_another_process(log: Path) -> None:
    process = _start(SLEEPER, log)
    _wait_for_output(process)
    stranger = replace(process, started=process.started - 1)
    assert (stranger.alive(), processes.stop([stranger], grace_s=1), process.alive()) == (False, [], True)
    processes.stop([process], grace_s=30)


def test_the_end_of_a_log_is_what_a_person_needs(log: Path) -> None:
    process = _start("print('\\n'.join(map(str, range(100))))", log)
    os.waitpid(process.pid, 0)
    assert processes.last_lines(process, count=2) == "98\n99"


def test_a_missing_log_is_said() -> None:
    assert "no log" in processes.last_lines(Process("x", 1, 1, "/nonexistent/log"))
