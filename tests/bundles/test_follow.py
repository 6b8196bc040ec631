"""Following: what is new comes, what is old goes, and what fails is told and tried later."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from bundles.collect import Rules
from bundles.errors import RemoteUnreachable
from bundles.fetch import Fetched, Fetcher
from bundles.follow import LONGEST_S, fetch_once, follow
from bundles.remote import RemoteStore, Wanted
from bundles.store import BundleStore
from tests.bundles.remotes import AT_ONCE, check_local


class Over(Exception):
    """The test has seen enough."""


def waits(looks: list[Fetched | Exception], poll_s: float = 10.0) -> list[float]:
    """How long `follow` waits after each look."""
    waited: list[float] = []

    def look() -> Fetched:
        if not looks:
            raise Over
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(Over):
        follow(look, poll_s, waited.append)
    return waited


def near(expected: list[float], waited: list[float]) -> bool:
    return all(0.8 * each <= found <= 1.2 * each for each, found in zip(expected, waited, strict=True))


FINE = Fetched(Wanted(("v",), ()), moved=False)
AWAY = RemoteUnreachable("memory://x", "no answer")


def test_errors_make_looks_rarer_and_the_first_good_one_ends_that(caplog: pytest.LogCaptureFixture) -> None:
    assert near([10, 20, 40, 10, 10], waits([FINE, AWAY, AWAY, FINE, FINE]))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told == ["what is here goes on: memory://x: no answer"] * 2


def test_looks_never_get_rarer_than_a_bound_or_the_poll() -> None:
    assert near([LONGEST_S] * 30, waits([AWAY] * 50)[20:])
    assert near([1000.0] * 3, waits([AWAY] * 3, poll_s=1000.0))


def test_what_the_local_disk_says_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    assert near([20, 10], waits([OSError("read-only file system"), FINE]))
    assert [record.getMessage() for record in caplog.records] == ["what is here goes on: read-only file system"]


def test_versions_come_and_go_and_the_one_that_serves_stays(
    remote: RemoteStore, node: BundleStore, pushed: Callable[..., str]
) -> None:
    fetcher = Fetcher(remote, node, AT_ONCE)
    versions = []
    for number in range(5):
        versions.append(pushed({"a": bytes([number])}))
        assert fetch_once(fetcher, node, Rules(keep=1, grace_s=0)).moved
        assert check_local(node) == versions[: -3 if number else None : -1]
    assert node.versions() == versions[3:]
    fetch_once(fetcher, node, None)
    assert node.versions() == versions[3:]
