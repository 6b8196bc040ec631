"""Real services and bundles that are not what they should be, or that change: named, refused, switched and gone back from."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bundles.store import BundleStore
from cli import main, processes
from cli import stack as stacks
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.errors import StackError
from cli.processes import Process
from cli.stack import Ports, ProcessStatus, describe, launch, wait_ready
from cli.workspace import Workspace
from tests.e2e.conftest import Served
from tests.variants import variant
from training.datasets import load

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
    while (status.health != "NOT_SERVING" or status.note.startswith("loading")) and time.monotonic() < deadline:
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


@pytest.fixture
def swapping(root: Path, workspace: Workspace, ports: Ports, tmp_path: Path) -> Iterator[Served]:
    """A stack of its own whose workspace the command can find: bundles below `tmp_path`, and no second version yet."""
    own, data = Workspace(tmp_path), workspace.dataset("simulated")
    plan = stack_plan(own, active_manifest(own), ports)
    plan = replace(plan, user_state=tmp_path / "valkey", funnel_log=None, settings={"BUNDLE_POLL_S": "0.1"})
    served = Served(own, load(data), stacks.start(plan, users_of(data), lambda _: None), plan)
    yield served
    stacks.stop(served.stack, plan.run)


def test_a_stack_swaps_refuses_and_goes_back_while_it_serves(swapping: Served) -> None:
    store = swapping.workspace.bundles()
    first = store.active_version()
    second, corrupt = variant(store, first).version, variant(store, first).version
    assert f"all 5 services serve {second} after" in _explore(swapping, "activate", second)
    relative = FILES["rerank_svc"]
    (store.root / corrupt / relative).chmod(0o644)
    (store.root / corrupt / relative).write_bytes(b"not what was published")
    store.activate(corrupt)
    pages, deadline = [swapping.page("42")], time.monotonic() + PATIENCE_S
    while _explore(swapping, "bundles").count(f"bundle {corrupt} is refused, {second} goes on: {relative}") < len(
        FILES
    ):
        assert time.monotonic() < deadline
        pages.append(swapping.page("42"))
    assert {page.bundle_version for page in pages} == {second}
    assert f"all 5 services serve {second} after" in _explore(swapping, "rollback")
    assert f"all 5 services serve {first} after" in _explore(swapping, "activate", first)
    pages.append(swapping.page("42"))
    assert (pages[-1].bundle_version, [list(page.degradations) for page in pages]) == (first, [[]] * len(pages))


def _explore(served: Served, *arguments: str) -> str:
    done = CliRunner().invoke(main.build(), ["--home", str(served.workspace.home), *arguments], catch_exceptions=False)
    return done.output
