"""Processes that answer line by line, that end by themselves, and that hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.line_worker import LineWorker

DOUBLING = "import json, sys\nfor line in sys.stdin: print(json.dumps(2 * json.loads(line)), flush=True)"
LAST_WORDS = "import sys\nsys.stdin.read()\nopen('ended', 'w').close()"
DEAF = "import signal, sys\nprint(0, flush=True)\nsignal.pause()"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # `python -m` finds modules there
    return tmp_path


def started(directory: Path, program: str, grace_s: float = 60.0) -> LineWorker:
    (directory / "program.py").write_text(program)
    return LineWorker("the program", "program", [], grace_s)


def test_every_command_is_answered_in_order(directory: Path) -> None:
    worker = started(directory, DOUBLING)
    worker.tell([1])
    worker.tell("ab")
    assert [worker.answer(), worker.answer(0.5)] == [[1, 1], "abab"]
    worker.close()


def test_a_process_may_end_by_itself_once_its_input_has(directory: Path) -> None:
    started(directory, LAST_WORDS).close()
    assert (directory / "ended").exists()


def test_one_that_has_ended_gives_no_answer(directory: Path) -> None:
    worker = started(directory, "")
    with pytest.raises(RuntimeError, match="the program ended, or did not answer"):
        worker.answer()
    worker.close()


def test_one_that_hangs_is_ended(directory: Path) -> None:
    worker = started(directory, DEAF, grace_s=0.2)
    worker.close()
    slow = started(directory, DEAF.replace("print(0, flush=True)", ""), grace_s=0.1)
    with pytest.raises(RuntimeError, match=r"the program ended, or did not answer within 0\.2 s"):
        slow.answer(0.1)
    slow.close()
