"""What the in-memory telemetry counts."""

from __future__ import annotations

import math

import pytest

from serving.telemetry import BUCKETS_S, Histogram, MemoryTelemetry, NoTelemetry, Telemetry


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


def test_snapshot_lists_calls_and_stages_in_order() -> None:
    telemetry = MemoryTelemetry()
    telemetry.observe_stage("rank", "ok", 0.002)
    telemetry.observe_call("/b", "OK", 0.001)
    telemetry.observe_call("/a", "INTERNAL", 0.001)
    telemetry.observe_call("/b", "OK", 0.003)
    lines = [(line.kind, line.name, line.outcome, line.count, line.mean_s) for line in telemetry.snapshot()]
    assert lines == [
        ("call", "/a", "INTERNAL", 1, 0.001),
        ("call", "/b", "OK", 2, 0.002),
        ("stage", "rank", "ok", 1, 0.002),
    ]


@pytest.mark.parametrize("telemetry", [MemoryTelemetry(), NoTelemetry()])
def test_every_telemetry_takes_any_duration(telemetry: Telemetry) -> None:
    for seconds in (0.0, -1.0, 1e9):
        telemetry.observe_call("/a", "OK", seconds)
        telemetry.observe_stage("rank", "ok", seconds)
