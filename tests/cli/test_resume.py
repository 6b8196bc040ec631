"""A killed `explore train` is resumed by the same command and ends as if nothing had happened; also where memory is short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bundles.manifest import Manifest
from cli.workspace import Workspace

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NOTHING = 0  # bytes of columns in memory


def train(home: Path, data: Path, *place: str) -> str:
    """What it said, for people; killed at `place` if there is one. No column stays in memory."""
    command = [sys.executable, "-m", "tests.cli.killed_training", str(home), str(data), str(NOTHING), *place]
    # As many threads as the workspace that it is compared with was trained on.
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if place else 0), done.stderr
    return done.stderr


def manifest(workspace: Workspace) -> Manifest:
    """Of the active bundle."""
    return workspace.bundles().manifest(workspace.bundles().active_version())


@pytest.mark.timeout(900)  # three processes that each load torch: a busy machine takes minutes for what takes 40 s
def test_a_run_killed_twice_with_all_columns_in_files_gives_the_bundle_of_one_left_alone(
    tmp_path: Path, trained: Workspace
) -> None:
    data, killed = trained.current_dataset(), Workspace(tmp_path)
    train(tmp_path, data, "deep ranker (rerank)", "30")
    assert not list((tmp_path / "bundles").glob("2*"))
    second = train(tmp_path, data, "student (prerank)", "15")
    assert ": deep ranker, epoch 1 of 2 done" in second
    last = train(tmp_path, data)
    assert ": student, epoch 2 of 10 done" in last
    (version,) = killed.bundles().versions()
    whole, resumed = manifest(trained), manifest(killed)
    assert resumed.version == version
    assert whole.metrics == resumed.metrics
    assert whole.files == resumed.files
    assert [path for home in (trained, killed) for path in home.training.iterdir() if path.is_dir()] == []
