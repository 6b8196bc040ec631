"""Locust runs the file, as a process of its own: it replaces much of Python by its own, which no test may see."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENT = ("--deadline", "5", "--max-p99-ms", "5000")  # a busy machine is no finding here
LOCUST = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--only-summary"]


@dataclass
class Served:
    """A fake gateway in a process; `asked` is what it says at its end."""

    host: str
    asked: dict[str, int] = field(default_factory=dict)


@contextmanager
def fake_gateway(*arguments: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "tests.loadtests.fake_gateway", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        served = Served(f"127.0.0.1:{process.stdout.readline().strip()}")
        try:
            yield served
        finally:
            process.terminate()
            served.asked.update(json.loads(process.stdout.readline()))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*LOCUST, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def verdict_of(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))


def test_requests_come_on_schedule_however_slow_the_server_is(tmp_path: Path) -> None:
    """A second per answer: 40 users who wait for theirs would ask 80 times in two seconds, whatever arrives 240 times or so."""
    options = ("--rate", "120", "--duration", "2", "--seed", "1", *PATIENT)
    files = ("--verdict", str(tmp_path / "verdict.json"), "--html", str(tmp_path / "report.html"))
    with fake_gateway("--delay", "1") as served:
        ended = run("--host", served.host, *options, *files)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SLO HELD" in ended.stdout
    verdict = verdict_of(tmp_path / "verdict.json")
    assert verdict["failures"] == {}
    figures = verdict["figures"]
    assert 180 <= figures["requests"] <= 300  # Poisson, of 240: four standard deviations
    assert figures["page_p50_ms"] >= 1000
    assert served.asked["pages"] == figures["pages_asked"]  # those at the end were waited for
    assert b"first page" in (tmp_path / "report.html").read_bytes()


def test_a_missed_slo_is_said_and_is_the_exit_status(tmp_path: Path) -> None:
    with fake_gateway("--spoil", "short") as served:
        ended = run(
            "--host", served.host, "--rate", "30", "--duration", "1", "--verdict", str(tmp_path / "verdict.json")
        )
    assert ended.returncode == 1
    assert "SLO MISSED: failed requests, full pages" in ended.stdout
    assert "short page" in ended.stderr
    verdict = verdict_of(tmp_path / "verdict.json")
    assert not verdict["ok"]
    assert [line["name"] for line in verdict["slo"] if not line["ok"]] == ["failed requests", "full pages"]
    assert sum(verdict["failures"].values()) == verdict["figures"]["failed"] > 0
    assert all("short page" in reason for reason in verdict["failures"])


def test_the_search_for_saturation_tells_what_held(tmp_path: Path) -> None:
    search = (*PATIENT, "--shape", "saturation", "--rate", "20", "--step", "1", "--duration", "2.5")
    with fake_gateway() as served:
        ended = run("--host", served.host, *search, "--verdict", str(tmp_path / "verdict.json"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "requests/s or more hold the SLO" in ended.stdout
    verdict = verdict_of(tmp_path / "verdict.json")
    assert verdict["saturation"] >= 20
    assert verdict["broke"] is None
    assert verdict["confirmed"] is False  # there was no time for that


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "127.0.0.1:1"), "start a stack with `make up`"),
        (("--host", "http://127.0.0.1:1"), "must be HOST:PORT"),
        (("--traffic", "no_such.yaml"), "no_such.yaml"),
        (("--rate", "0"), "--rate 0: must be more than 0"),
    ],
)
def test_what_cannot_run_says_why_at_once(arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 1
    assert said in ended.stderr
