"""A real service and a bundle that is not what it should be: it says which file, and is not ready until that is mended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles.store import BundleStore
from cli import processes
from cli.errors import StackError
from cli.processes import Process
from cli.stack import Ports, ProcessStatus, describe, launch, wait_ready
from cli.workspace import Workspace

PATIENCE_S = 60
FILES = {
    "retrieval_svc": "accounts/index.faiss",
    "prerank_svc": "prerank/model.onnx",
    "rank_svc": "items/counts_MA.npy",
    "rerank_svc": "rerank/embeddings/media.npy",
    "gateway": "items/media_id_M.npy",
}

Start = Callable[[str], Process]


@pytest.fixture
def root(workspace: Workspace, tmp_path: Path) -> Path:
    """The active bundle in a root of its own, writable."""
    copied = tmp_path / "bundles"
    shutil.copytree(workspace.bundles().root, copied)
    for path in copied.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copied


@pytest.fixture
def ports() -> Ports:
    return Ports.free()


@pytest.fixture
def start(root: Path, ports: Ports, tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def run(service: str) -> Process:
        settings = {"LISTEN": ports.address(service), "BUNDLE_ROOT": str(root), "BUNDLE_RETRY_S": "0.2"}
        named = {f"EXPLORE_{name}": value for name, value in settings.items()}
        started.append(launch(service, tmp_path / f"{service}.log", named))
        return started[-1]

    yield run
    processes.stop(started, grace_s=10)


def _file(root: Path, relative: str) -> Path:
    return root / (BundleStore(root).current_version() or "") / relative


def _refusal(process: Process, ports: Ports) -> ProcessStatus:
    """What the process says once it has looked at the bundle."""
    deadline = time.monotonic() + PATIENCE_S
    status = describe(process, ports)
    while (status.health != "NOT_SERVING" or status.note == "loading") and time.monotonic() < deadline:
        status = describe(process, ports)
    return status


@pytest.mark.parametrize(("service", "relative"), FILES.items())
def test_a_corrupt_file_is_named_and_refused(
    service: str, relative: str, root: Path, start: Start, ports: Ports
) -> None:
    _file(root, relative).write_bytes(b"not what was published")
    status = _refusal(start(service), ports)
    assert (status.healthy, status.bundle) == (False, "")
    assert relative in status.note


@pytest.mark.parametrize(("service", "relative"), FILES.items())
def test_a_missing_file_is_named_and_refused(
    service: str, relative: str, root: Path, start: Start, ports: Ports
) -> None:
    _file(root, relative).unlink()
    assert relative in _refusal(start(service), ports).note


def test_who_waits_for_a_service_that_refuses_is_told_why(root: Path, start: Start, ports: Ports) -> None:
    _file(root, FILES["rank_svc"]).unlink()
    with pytest.raises(StackError, match=r"rank_svc cannot serve: .*counts_MA\.npy"):
        wait_ready(start("rank_svc"), ports.address("rank_svc"), PATIENCE_S)


def test_a_service_gets_ready_once_the_bundle_is_mended(root: Path, start: Start, ports: Ports) -> None:
    path = _file(root, FILES["rank_svc"])
    right = path.read_bytes()
    path.write_bytes(b"not what was published")
    process = start("rank_svc")
    _refusal(process, ports)
    path.write_bytes(right)
    deadline = time.monotonic() + PATIENCE_S
    while not describe(process, ports).healthy:
        assert time.monotonic() < deadline


def test_a_root_without_bundle_is_refused_with_advice(root: Path, start: Start, ports: Ports) -> None:
    (root / "CURRENT").unlink()
    assert "no bundle" in _refusal(start("rank_svc"), ports).note
