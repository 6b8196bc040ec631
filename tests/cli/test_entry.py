"""An interrupt ends the command with status 130 and one line, however early it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["explore"]
BY_SCRIPT = "import importlib; module, _, name = {!r}.partition(':'); getattr(importlib.import_module(module), name)()"
WAITS = "import signal\nprint('waiting', flush=True)\nsignal.pause()\n"


def _interrupted(command: list[str], number: signal.Signals, first_on_path: Path) -> tuple[int, str]:
    """Exit status and stderr of Python with these arguments, told once it waits."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(first_on_path), str(ROOT)])}
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        _, said = process.communicate()
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", [["-m", "cli"], ["-c", BY_SCRIPT.format(SCRIPT)]], ids=["module", "script"])
def test_an_interrupt_during_the_imports(command: list[str], number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(WAITS)  # takes the place of the first thing that the command imports
    assert _interrupted(command, number, tmp_path) == (130, "interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_while_the_command_runs_cleans_up(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import signal\nfrom cli import entry, main\n\n"
        "def work(standalone_mode):\n    try:\n        print('waiting', flush=True)\n        signal.pause()\n"
        "    finally:\n        import sys\n        print('cleaned up', file=sys.stderr)\n\n"
        "main.build = lambda: work\nentry.main()\n"
    )
    assert _interrupted(["-m", "slow"], number, tmp_path) == (130, "cleaned up\ninterrupted\n")


def test_a_job_in_the_background_does_not_hear_ctrl_c(tmp_path: Path) -> None:
    """A shell without job control starts it so; Ctrl-C is for what runs in front."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom cli import entry, main\n\n"
        "def work(standalone_mode):\n    os.kill(os.getpid(), signal.SIGINT)\n    print('went on')\n\n"
        "main.build = lambda: work\nentry.main()\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-m", "slow"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n")
