"""What the in-memory telemetry counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.telemetry import (
    BUCKETS_S,
    CALL,
    MAX_SERIES,
    OTHER,
    STAGE,
    Histogram,
    Measure,
    MemoryTelemetry,
    NoTelemetry,
    Reading,
    Telemetry,
)

SIZES = Measure("explore_test_sizes", "Sizes.", "histogram", ("of",), bounds=(-1.0, 0.0, 1.0, 10.0))
EVENTS = Measure("explore_test_events_total", "Events.", "counter", ("kind",))


def test_buckets_rise_from_100_microseconds_to_10_seconds() -> None:
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (1e-4, 10.0)


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, 1e-4), (1e-4, 1e-4), (0.0009, 0.001), (10.0, 10.0), (11.0, math.inf)]
)
def test_quantile_is_the_bound_of_the_bucket(seconds: float, bound: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.quantile(0.5) == bound


def test_quantile_of_nothing_is_zero() -> None:
    assert Histogram().quantile(0.99) == 0.0


def test_median_and_tail_are_told_apart() -> None:
    histogram = Histogram()
    for seconds in [0.001] * 98 + [1.0] * 2:
        histogram.add(seconds)
    assert (histogram.quantile(0.5), histogram.quantile(0.99)) == (0.001, 1.0)


@given(st.lists(st.floats(-100, 100, width=32) | st.just(float("nan"))))
def test_many_values_at_once_count_as_they_do_one_by_one(values: list[float]) -> None:
    at_once, one_by_one = Histogram(SIZES.bounds), Histogram(SIZES.bounds)
    at_once.add_all(np.array(values, np.float32))
    for value in values:
        one_by_one.add(value)
    assert at_once.counts == one_by_one.counts
    assert at_once.total == pytest.approx(one_by_one.total, abs=1e-3)


def test_a_copy_changes_no_more() -> None:
    histogram = Histogram()
    histogram.add(0.5, "a" * 32)
    copied = histogram.copy()
    histogram.add(0.5)
    copied.join(copied.copy())
    assert (copied.count, histogram.count, copied.total) == (2, 2, 1.0)
    assert [exemplar.trace_id for exemplar in copied.exemplars.values()] == ["a" * 32]


def test_snapshot_lists_durations_in_order() -> None:
    telemetry = MemoryTelemetry()
    telemetry.observe_stage("rank", "ok", 0.002)
    telemetry.observe_call("/b", "OK", 0.001)
    telemetry.observe_call("/a", "INTERNAL", 0.001)
    telemetry.observe_call("/b", "OK", 0.003)
    telemetry.observe(SIZES, 3, "x")  # which is no duration
    lines = [(line.measure, line.labels, line.count, line.mean_s) for line in telemetry.snapshot()]
    assert lines == [
        (CALL.name, {"method": "/a", "status": "INTERNAL"}, 1, 0.001),
        (CALL.name, {"method": "/b", "status": "OK"}, 2, 0.002),
        (STAGE.name, {"stage": "rank", "outcome": "ok"}, 1, 0.002),
    ]


def test_readings_are_histograms_counts_and_what_sources_say() -> None:
    telemetry = MemoryTelemetry()
    telemetry.observe(SIZES, 3, "x")
    telemetry.observe_all(SIZES, np.array([0.5, -5.0]), "x")
    telemetry.count(EVENTS, "seen")
    telemetry.count(EVENTS, "seen", by=2)
    telemetry.watch(lambda: [Reading(EVENTS, 7, ("asked",))])
    first, *others = telemetry.readings()
    assert isinstance(first.value, Histogram)
    assert (first.measure, first.labels, first.value.counts) == (SIZES, ("x",), [1, 0, 1, 1, 0])
    assert others == [Reading(EVENTS, 3.0, ("seen",)), Reading(EVENTS, 7, ("asked",))]


def test_labels_that_somebody_could_make_up_do_not_fill_the_memory() -> None:
    telemetry = MemoryTelemetry()
    for i in range(MAX_SERIES + 50):
        telemetry.observe_call(f"/{i}", "OK", 0.1)
        telemetry.count(EVENTS, str(i))
    readings = telemetry.readings()
    assert len(readings) == 2 * (MAX_SERIES + 1)
    calls, events = (next(r for r in readings if r.labels == (OTHER,) * width) for width in (2, 1))
    assert isinstance(calls.value, Histogram)
    assert (calls.value.count, events.value) == (50, 50)


@pytest.mark.parametrize("telemetry", [MemoryTelemetry(), NoTelemetry()])
def test_every_telemetry_takes_any_value(telemetry: Telemetry) -> None:
    telemetry.watch(list)
    for value in (0.0, -1.0, 1e9, math.nan, math.inf):
        telemetry.observe_call("/a", "OK", value)
        telemetry.observe_stage("rank", "ok", value)
        telemetry.observe(SIZES, value, "x")
        telemetry.observe_all(SIZES, np.array([value]), "x")
    telemetry.observe_all(SIZES, np.empty(0), "x")
    telemetry.count(EVENTS, "")
