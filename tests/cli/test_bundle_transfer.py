"""The commands that bring bundles to a URL and back, on real stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bundles.errors import BundleMissing, RemoteUnsupported
from bundles.store import BundleStore
from cli.errors import CommandError
from cli.main import build
from cli.stack import Ports, RunningStack
from tests.bundles.conftest import publish_into
from tests.bundles.remotes import check_local


def run(home: Path, *arguments: str) -> list[str]:
    result = CliRunner().invoke(build(), ["--home", str(home), "bundles", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output.splitlines()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote"


@pytest.fixture
def here(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "here" / "bundles")


def test_a_bundle_goes_to_a_url_and_serves_elsewhere(tmp_path: Path, here: BundleStore, url: str) -> None:
    first, second = (publish_into(here, {"a": b"x" * 400_000, "b": name}).version for name in (b"1", b"2"))
    here.activate(first)
    assert run(here.root.parent, "push", url) == [
        f"bundle {first} is active at {url}: 0.4 MB sent, 0.0 MB there already"
    ]
    assert run(here.root.parent, "push", url, first, "--hold")[0].startswith(f"bundle {first} is held at {url}: 0.0 MB")
    assert run(tmp_path / "there", "fetch", url) == [
        f"bundle {first}: 0.4 MB downloaded, 0.0 MB were here already",
        f"bundle {first} is active",
        "no stack runs",
    ]
    run(here.root.parent, "push", url, second[-12:])
    assert run(tmp_path / "there", "fetch", url)[0] == f"bundle {second}: 0.0 MB downloaded, 0.4 MB were here already"
    assert run(tmp_path / "there", "fetch", url)[0] == f"bundle {second} is active already"
    there = BundleStore(tmp_path / "there" / "bundles")
    assert (check_local(there), there.also()) == ([second, first], [first])
    assert run(tmp_path, "release", url, first) == [f"bundle {first} is not held at {url} any more"]
    run(tmp_path / "there", "fetch", url)
    assert there.also() == []
    assert any(second in line for line in run(tmp_path / "there"))


def test_old_bundles_go_here_and_behind_a_url(here: BundleStore, url: str) -> None:
    home, versions = here.root.parent, [publish_into(here, {"a": bytes([number])}).version for number in range(4)]
    for version in versions:
        here.activate(version)
        run(home, "push", url)
    for place in ([], [url], [str(here.root)]):
        assert run(home, "gc", *place, "--keep", "2", "--dry-run")[-1] == "2 stay"
    for place in ([], [url]):
        removed = run(home, "gc", *place, "--keep", "0", "--grace", "0")
        assert removed == [*(f"removed {version}" for version in versions[:2]), "2 stay"]
    assert check_local(here) == versions[:1:-1]


def test_what_cannot_be_had_is_told_by_its_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(BundleMissing, match=f"^{url}: no bundle is active there"):
        run(tmp_path, "fetch", url)
    with pytest.raises(RemoteUnsupported, match=r"^gopher://x: nothing here speaks"):
        run(tmp_path, "fetch", "gopher://x")


def test_bundles_of_other_data_are_not_fetched_under_a_running_stack(
    tmp_path: Path, here: BundleStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.activate(publish_into(here, {"a": b"1"}).version)
    run(here.root.parent, "push", url)
    monkeypatch.setattr(RunningStack, "find", lambda run: RunningStack(Ports.free(), (), "kuairand"))
    with pytest.raises(
        CommandError, match="is of data set 'synthetic', the running stack serves the users of 'kuairand'"
    ):
        run(tmp_path / "there", "fetch", url)
    assert BundleStore(tmp_path / "there" / "bundles").versions() == []
