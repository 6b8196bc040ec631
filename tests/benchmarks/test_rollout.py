"""What the rollout benchmark counts, and what it makes of replicas that end well, badly or never."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.engines import Processes, Replica, spawn
from benchmarks.faults_pages import Page
from benchmarks.rollout import figures_of
from benchmarks.rollout_fleet import Restart, free_ports

FIRST = Restart("rank_svc-1", told_s=10.0, ended_s=10.5, ready_s=13.0, exit_code=0)
SECOND = Restart("gateway-1", told_s=15.0, ended_s=16.0, ready_s=18.0, exit_code=1)
FOREVER = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


def page(asked_s: float, status: str = "OK", items: int = 25, degraded: str = "") -> Page:
    return Page(asked_s, 0.1, status, items if status == "OK" else 0, frozenset(degraded.split()), degraded)


def test_a_page_belongs_to_the_replica_that_was_told_to_end_before_it() -> None:
    pages = [page(9.0), page(10.0), page(14.9, items=24), page(15.0, "UNAVAILABLE"), page(99.0, degraded="rank")]
    figures = figures_of(pages, [FIRST, SECOND])
    assert (figures["pages"], figures["failed"], figures["not_full"], figures["degraded"]) == (5, 1, 1, 1)
    assert [(row["pages"], row["failed"], row["not_full"]) for row in figures["restarts"]] == [(2, 0, 1), (2, 1, 0)]
    assert figures["restarts"][0] | {"drain_s": 0.5, "start_s": 2.5} == figures["restarts"][0]


def test_failures_and_degradations_are_named() -> None:
    figures = figures_of([page(11.0, "UNAVAILABLE"), page(12.0, degraded="rank")], [FIRST])
    assert (figures["failures"], figures["degradations"]) == (["UNAVAILABLE: "], ["rank"])


def test_without_pages_there_is_no_latency_to_pass_a_check_with() -> None:
    assert figures_of([], [FIRST])["p99_s"] > 1.0


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(50))) == 50


def test_what_does_not_end_in_time_is_killed_and_does_not_exit_with_zero(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn([sys.executable, "-c", FOREVER], log)
    replica = Replica(log, process)
    while not log.read_text():
        assert replica.alive()
    replica.terminate()
    assert replica.wait(0.1) == -9
    replica.terminate()  # nothing is left to be told
    assert not replica.alive()


def test_a_process_is_told_its_settings_and_keeps_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORE_DRAIN_S", "ours")
    replica = Processes(tmp_path / "bundles", tmp_path / "logs").start("a", "gateway", {"EXPLORE_LISTEN": "nowhere"})
    assert replica.wait(60.0) == 2  # a wrong environment
    told = replica.log.read_text()
    assert "EXPLORE_LISTEN='nowhere'" in told
    assert "EXPLORE_DRAIN_S='ours'" in told
