"""`python -m bundles` as a pod runs it: exit status, output for machines, and signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.__main__ import main
from bundles.push import Pusher
from bundles.remote import RemoteStore
from bundles.store import BundleStore
from tests.bundles.conftest import publish_into
from tests.bundles.remotes import check_local, check_remote

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    def run_command(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return (status, *capsys.readouterr())

    before = signal.getsignal(signal.SIGTERM)
    yield run_command
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote"


def test_a_bundle_goes_from_one_root_to_another(store: BundleStore, node: BundleStore, url: str, run: Run) -> None:
    first, second = (publish_into(store, {"a": content}).version for content in (b"1", b"2"))
    store.activate(first)
    status, out, err = run("push", store.root, url)
    assert (status, out) == (0, f"{first}\n")
    assert json.loads(err)["message"] == "uploaded"
    assert run("push", store.root, url, second[-12:])[:2] == (0, f"{second}\n")
    assert run("push", store.root, url, first, "--hold")[0] == 0
    assert check_remote(RemoteStore(url)) == [second, first]
    status, out, err = run("fetch", url, "--root", node.root)
    assert (status, out) == (0, f"{second}\n")
    assert [json.loads(line)["message"] for line in err.splitlines()].count("version fetched") == 2
    assert (check_local(node), node.also()) == ([second, first], [first])
    assert run("release", url, first)[0] == 0
    assert run("fetch", url, "--root", node.root, "--once")[0] == 0
    assert node.also() == []


def test_old_versions_are_told_and_then_removed(store: BundleStore, node: BundleStore, url: str, run: Run) -> None:
    versions = [publish_into(store, {"a": bytes([number])}).version for number in range(4)]
    for version in versions:
        run("push", store.root, url, version)
        run("fetch", url, "--root", node.root)
    for place in (url, node.root):
        assert run("gc", place, "--keep", 2)[1].splitlines() == [
            f"unused, to be removed in 3600 s or later: {version}" for version in versions[:2]
        ]
        told = run("gc", place, "--keep", 2, "--grace", 0, "--dry-run")[1].splitlines()
        assert told == [f"would remove {version}" for version in versions[:2]]
        done = run("gc", place, "--keep", 2, "--grace", 0)[1].splitlines()
        assert done == [f"removed {version}" for version in versions[:2]]
    assert check_local(node) == check_remote(RemoteStore(url)) == versions[:1:-1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("fetch", "gopher://x", "--root", "r"), "error: gopher://x: nothing here speaks 'gopher'"),
        (("push", "r", "file:///x"), "error: there is no current bundle in"),
        (("gc", "no/such/root"), "error: no bundle is active"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(
    arguments: tuple[str, ...], problem: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(problem)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fetch", "file:///x"),
        ("fetch", "file:///x", "--root", "r", "--poll", "0"),
        ("fetch", "file:///x", "--root", "r", "--poll", "nan"),
        ("fetch", "file:///x", "--root", "r", "--keep", "-1"),
        ("fetch", "file:///x", "--root", "r", "--once", "--follow"),
        ("gc", "r", "--grace", "-1"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...], run: Run) -> None:
    with pytest.raises(SystemExit) as raised:
        run(*arguments)
    assert raised.value.code == 2


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stderr is not None
    return (json.loads(line) for line in process.stderr)


def test_following_brings_what_is_pushed_until_it_is_told_to_stop(
    store: BundleStore, node: BundleStore, url: str
) -> None:
    command = [sys.executable, "-m", "bundles", "fetch", url, "--root", str(node.root), "--follow", "--poll", "0.05"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        said = lines(process)
        assert "push one" in next(said)["message"]
        for number in range(2):
            version = publish_into(store, {"a": bytes([number])}).version
            Pusher(store, RemoteStore(url)).push(version)
            assert next(line for line in said if line["message"] == "bundle active")["version"] == version
            assert check_local(node)[0] == version
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
