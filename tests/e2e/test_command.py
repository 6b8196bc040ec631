"""The `explore` command as a person uses it: real processes, real signals, and errors that say what to do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands.stack import active_manifest
from cli.stack import N_PORTS, Ports, RunningStack
from cli.workspace import Workspace
from tests.e2e.conftest import Served

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture(scope="module")
def port_base() -> str:
    """The first of six consecutive ports that nobody uses, below those that Linux gives to outgoing connections."""
    for base in range(20_000, 32_000, N_PORTS):
        if all(_is_free(port) for port in range(base, base + N_PORTS)):
            return str(base)
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _explore(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def home(workspace: Workspace) -> Iterator[Path]:
    """The workspace, with nothing running in it before and after."""
    yield workspace.home
    _explore(workspace.home, "down")


def _alive(stack: RunningStack) -> list[str]:
    return [process.name for process in stack.processes if process.alive()]


def _start_up(home: Path, port_base: str) -> subprocess.Popen[str]:
    """`explore up` in the foreground, once it says that everything is ready."""
    command = [sys.executable, "-m", "cli", "--home", str(home), "up", "--port-base", port_base]
    up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert up.stdout is not None
    for line in up.stdout:
        if "Ctrl-C ends it" in line:
            break
    return up


def test_up_detached_feed_status_and_down(home: Path, workspace: Workspace, port_base: str) -> None:
    up = _explore(home, "up", "--detach", "--port-base", port_base)
    assert (up.returncode, "Page for user 42" in up.stdout) == (0, True), up.stderr
    stack = RunningStack.find(workspace.run)
    assert stack is not None
    feed = json.loads(_explore(home, "feed", "--user", "42", "--json").stdout)
    assert (len(feed["items"]), feed["bundle_version"]) == (25, active_manifest(workspace).version)
    status = _explore(home, "status")
    assert (status.returncode, status.stdout.count("SERVING")) == (0, 6)
    again = _explore(home, "up", "--detach")
    assert (again.returncode, "runs already" in again.stderr) == (1, True)
    assert (_explore(home, "down").returncode, _alive(stack)) == (0, [])


def test_ctrl_c_leaves_no_process_behind(home: Path, workspace: Workspace, port_base: str) -> None:
    with _start_up(home, port_base) as up:
        stack = RunningStack.find(workspace.run)
        assert stack is not None
        assert len(_alive(stack)) == 6
        os.kill(up.pid, signal.SIGINT)
        said, _ = up.communicate(timeout=60)
    assert (up.returncode, _alive(stack), "everything has ended" in said) == (0, [], True)


def test_a_process_that_dies_ends_the_stack_and_is_named(home: Path, workspace: Workspace, port_base: str) -> None:
    with _start_up(home, port_base) as up:
        stack = RunningStack.find(workspace.run)
        assert stack is not None
        os.kill(next(p.pid for p in stack.processes if p.name == "rank_svc"), signal.SIGKILL)
        _, errors = up.communicate(timeout=60)
    assert (up.returncode, _alive(stack)) == (1, [])
    assert "rank_svc ended" in errors


def test_a_port_in_use_is_named(home: Path, port_base: str) -> None:
    taken = Ports.from_base(int(port_base)).prerank_svc
    with socket.create_server(("127.0.0.1", taken)):
        up = _explore(home, "up", "--port-base", port_base)
    assert (up.returncode, f"port {taken} of prerank_svc is in use" in up.stderr) == (1, True), up.stderr


def test_without_a_stack_feed_says_how_to_start_one(tmp_path: Path) -> None:
    feed = _explore(tmp_path, "feed", "--user", "42")
    assert (feed.returncode, "explore up" in feed.stderr) == (1, True)


def test_without_a_bundle_up_says_how_to_make_one(tmp_path: Path) -> None:
    up = _explore(tmp_path, "up")
    assert (up.returncode, "explore train" in up.stderr) == (1, True)


def test_without_data_train_says_how_to_get_some(tmp_path: Path) -> None:
    train = _explore(tmp_path, "train")
    assert (train.returncode, "explore simulate" in train.stderr) == (1, True)


def test_an_unknown_recipe_is_answered_with_the_known_ones(home: Path) -> None:
    train = _explore(home, "train", "--recipe", "huge")
    assert (train.returncode, "recipes: default, small, tiny" in train.stderr) == (1, True)


def test_a_broken_import_names_file_and_reason_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    done = _explore(tmp_path / "home", "import", "kuairand", str(tmp_path / "source"))
    assert (done.returncode, "log_standard" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert not (tmp_path / "home" / "data" / "kuairand").exists()


def test_feed_shows_the_servers_words_about_bad_input(served: Served, tmp_path: Path) -> None:
    address = served.stack.ports.address("gateway")
    feed = _explore(tmp_path, "feed", "--user", "42", "--page-size", "51", "--address", address)
    assert (feed.returncode, "INVALID_ARGUMENT: page_size must lie in 1..50, got 51" in feed.stderr) == (1, True)


def test_eval_prints_three_strategies_with_intervals(home: Path) -> None:
    figures = json.loads(_explore(home, "eval", "--users", "40", "--json").stdout)
    value = {row["page"]: row["value"] for row in figures["pages"]}
    assert list(value) == ["cascade", "popularity", "random eligible"]
    assert value["cascade"]["low"] > value["popularity"]["high"] > value["random eligible"]["high"]


def test_the_readmes_client_works_through_reflection(served: Served) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    script = code[1].replace(Ports().address("gateway"), served.stack.ports.address("gateway"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 5), done.stderr
