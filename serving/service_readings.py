"""What every service shows of itself: whether it serves, from which bundles, who is before its doors, and how large calls are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from serving.admission import Door
from serving.status import software_version
from serving.telemetry import Measure, Reading

READY = Measure(
    "explore_ready",
    "1 once every service of the process has loaded what it serves from, 0 before.",
    "gauge",
    joined="least",
)
BUILD = Measure("explore_build_info", "The software that runs; always 1.", "gauge", ("version",), joined="most")
BUNDLE = Measure(
    "explore_bundle_info",
    'A bundle version that is held, state "current" or "held", or wanted and "refused"; always 1.',
    "gauge",
    ("version", "state"),
    joined="most",
)
BUNDLE_CREATED = Measure(
    "explore_bundle_created_timestamp_seconds",
    "When the current bundle was published, since the epoch; of several services in a process, the oldest.",
    "gauge",
    joined="least",
)
USERS = Measure(
    "explore_stage_call_users",
    "Users per call that a stage answered: more than one when requests share a call.",
    "histogram",
    ("stage",),
    bounds=(1, 2, 4, 8, 16, 32, 64, 128),
)


def readings_of(
    ready: bool, versions: Sequence[str], refused: Iterable[str], doors: Iterable[Door]
) -> Iterator[Reading]:
    """A service as it is now; `versions` current first."""
    yield Reading(READY, float(ready))
    yield Reading(BUILD, 1.0, (software_version(),))
    for place, version in enumerate(versions):
        yield Reading(BUNDLE, 1.0, (version, "held" if place else "current"))
    for version in refused:
        yield Reading(BUNDLE, 1.0, (version, "refused"))
    if versions and (created_s := _created_s(versions[0])) is not None:
        yield Reading(BUNDLE_CREATED, created_s)
    for door in doors:
        yield from door.readings()


def _created_s(version: str) -> float | None:
    """Versions begin with the time of their publication (bundles.store); those of test doubles need not."""
    with suppress(ValueError):
        return datetime.strptime(version.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
    return None
