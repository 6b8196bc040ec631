"""A killed `explore train` is resumed by the same command and ends as if nothing had happened; also where memory is short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bundles.manifest import Manifest
from cli.commands.data import WorldSize, make_simulated
from cli.workspace import Workspace

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PLENTY, NOTHING = 10**12, 0  # bytes of columns in memory: all of them, none


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Workspace(tmp_path_factory.mktemp("data"))
    make_simulated(made, WorldSize.TINY, None, "simulated")
    return made.dataset("simulated")


def start(home: Path, data: Path, budget: int, *place: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cli.killed_training", str(home), str(data), str(budget), *place]
    # Two run at a time: threads that wait for each other on one core would take most of it.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(home: Path, data: Path, budget: int, *place: str) -> str:
    """What it said, for people; killed at `place` if there is one."""
    process = start(home, data, budget, *place)
    _, said = process.communicate()
    assert process.returncode == (-signal.SIGKILL if place else 0), said
    return said


def manifest(home: Path) -> Manifest:
    store = Workspace(home).bundles()
    (version,) = store.versions()
    return store.manifest(version)


@pytest.mark.timeout(900)  # four processes that each load torch: a busy machine takes minutes for what takes 40 s
def test_a_run_killed_twice_with_all_columns_in_files_gives_the_bundle_of_one_left_alone(
    tmp_path: Path, data: Path
) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    with start(alone, data, PLENTY) as beside:  # at the same time, as both need half a minute
        train(killed, data, NOTHING, "deep ranker (rerank)", "30")
        assert not list((killed / "bundles").glob("2*"))
        second = train(killed, data, NOTHING, "student (prerank)", "15")
        assert ": deep ranker, epoch 1 of 2 done" in second
        last = train(killed, data, NOTHING)
        assert ": student, epoch 2 of 10 done" in last
        assert "resuming" not in beside.communicate()[1]
    assert beside.returncode == 0
    whole, resumed = manifest(alone), manifest(killed)
    assert whole.metrics == resumed.metrics
    assert whole.files == resumed.files
    assert [path for home in (alone, killed) for path in (home / "training").iterdir() if path.is_dir()] == []
