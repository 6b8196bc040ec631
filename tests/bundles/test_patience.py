"""Trying again: how often, how long in between, and what is not tried again."""

from __future__ import annotations

import pytest

from bundles.errors import BundleMissing, RemoteDenied, RemoteUnreachable
from bundles.patience import Patience, jittered


def test_waits_double_and_the_last_error_is_told() -> None:
    waited: list[float] = []
    errors = [RemoteUnreachable("memory://x", f"attempt {number}") for number in range(1, 5)]

    def fail() -> None:
        raise errors.pop(0)

    with pytest.raises(RemoteUnreachable, match="attempt 4"):
        Patience(4, 10.0, waited.append)(fail)
    assert [
        expected * 0.8 <= waited_s <= expected * 1.2 for expected, waited_s in zip((10, 20, 40), waited, strict=True)
    ]


def test_what_time_does_not_mend_is_not_tried_again() -> None:
    for error in (RemoteDenied("memory://x", "no"), BundleMissing("no"), KeyError("no")):
        tried: list[int] = []

        def fail(error: Exception = error, tried: list[int] = tried) -> None:
            tried.append(1)
            raise error

        with pytest.raises(type(error)):
            Patience(3, 1.0, lambda seconds: None)(fail)
        assert len(tried) == 1


def test_pods_that_began_together_do_not_stay_together() -> None:
    waits = {jittered(10.0) for _ in range(100)}
    assert len(waits) > 90
    assert all(8.0 <= wait_s <= 12.0 for wait_s in waits)
