"""What a service shows of itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from serving.service_readings import BUNDLE, BUNDLE_CREATED, READY, readings_of


def test_the_current_bundle_is_told_from_those_that_are_held_and_refused() -> None:
    versions = ["20260105T101112.345Z-0123456789ab", "20260104T000000.000Z-0123456789ac"]
    found = {(each.measure, each.labels): each.value for each in readings_of(True, versions, ["bad"], ())}
    assert found[BUNDLE, ("bad", "refused")] == 1
    assert found[BUNDLE, (versions[0], "current")] == found[BUNDLE, (versions[1], "held")] == found[READY, ()] == 1
    created = datetime(2026, 1, 5, 10, 11, 12, 345_000, UTC).timestamp()
    assert found[BUNDLE_CREATED, ()] == created


@pytest.mark.parametrize("versions", [[], ["test"], [""], ["20261399T000000.000Z-x"]])
def test_a_version_without_a_time_has_no_age(versions: list[str]) -> None:
    found = {each.measure: each.value for each in readings_of(False, versions, (), ())}
    assert BUNDLE_CREATED not in found
    assert found[READY] == 0
