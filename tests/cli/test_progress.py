"""Steps show how far they are and remember how long they took."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.progress import steps


def test_steps_remember_their_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.5, 20.0, 21.0, 30.0, 34.0])
    monkeypatch.setattr("cli.progress.time.monotonic", lambda: next(clock))
    with steps(Console(file=io.StringIO())) as shown:
        for name in ("reading", "training", "reading"):
            with shown.step(name) as report:
                report(1, 2)
    assert shown.seconds == {"reading": 6.5, "training": 1.0}


def test_a_step_that_fails_took_no_time() -> None:
    with steps(Console(file=io.StringIO())) as shown:
        with pytest.raises(RuntimeError), shown.step("training"):
            raise RuntimeError
        assert shown.seconds == {}
