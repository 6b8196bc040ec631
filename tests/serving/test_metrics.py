"""What Prometheus reads is what was measured: through the parsers of prometheus_client."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from serving.metrics import registry
from serving.service_readings import readings_of
from serving.telemetry import CALL, Histogram, Measure, MemoryTelemetry, Reading

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCORES = Measure("explore_test_score", "Scores.", "histogram", ("stage",), bounds=(-1.0, 0.0, 1.0))
EVENTS = Measure("explore_test_events_total", "Events.", "counter", ("kind",))
LIMIT = Measure("explore_test_limit", "A limit.", "gauge")


def shown(telemetry: MemoryTelemetry) -> CollectorRegistry:
    return registry(telemetry.readings)


def samples(telemetry: MemoryTelemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and label values, in the order of the labels' names."""
    families = parse(generate_latest(shown(telemetry)).decode())
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_a_histogram_is_cumulative_and_has_its_sum() -> None:
    telemetry = MemoryTelemetry()
    for seconds in (0.00005, 0.0012, 0.0012, 60.0):
        telemetry.observe_call("/s/M", "OK", seconds)
    found = samples(telemetry)
    labels = ("/s/M", "OK")
    name = CALL.name
    assert found[f"{name}_bucket", ("0.0001", *labels)] == 1
    assert found[f"{name}_bucket", ("0.0015849", *labels)] == 3
    assert found[f"{name}_bucket", ("10.0", *labels)] == 3
    assert found[f"{name}_bucket", ("+Inf", *labels)] == found[f"{name}_count", labels] == 4
    assert found[f"{name}_sum", labels] == pytest.approx(60.00245)


def test_a_histogram_of_negative_values_has_no_sum_which_could_fall() -> None:
    telemetry = MemoryTelemetry()
    for score in (-5.0, 0.5, math.nan):
        telemetry.observe(SCORES, score, "rank")
    found = samples(telemetry)
    assert found["explore_test_score_bucket", ("+Inf", "rank")] == 2
    assert ("explore_test_score_sum", ("rank",)) not in found


def test_counters_and_gauges_of_several_sources_add_up() -> None:
    telemetry = MemoryTelemetry()
    telemetry.count(EVENTS, "a", by=2)
    telemetry.watch(lambda: [Reading(EVENTS, 3, ("a",)), Reading(LIMIT, 5.0)])
    telemetry.watch(lambda: [Reading(LIMIT, 4.0)])
    found = samples(telemetry)
    assert (found["explore_test_events_total", ("a",)], found["explore_test_limit", ()]) == (5, 9)


def test_of_services_in_one_process_the_last_to_be_ready_and_the_oldest_bundle_count() -> None:
    telemetry, old, new = MemoryTelemetry(), "20260101T000000.000000Z-a", "20260102T000000.000000Z-b"
    telemetry.watch(lambda: readings_of(True, [new, old], (), ()))
    telemetry.watch(lambda: readings_of(False, [old], (), ()))
    telemetry.watch(lambda: readings_of(True, [new], (), ()))
    found = samples(telemetry)
    assert found["explore_ready", ()] == 0
    assert found["explore_bundle_created_timestamp_seconds", ()] == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    bundles = {labels: value for (name, labels), value in found.items() if name == "explore_bundle_info"}
    assert bundles == {("current", new): 1, ("held", old): 1, ("current", old): 1}
    assert [value for (name, _), value in found.items() if name == "explore_build_info"] == [1]


def test_histograms_of_several_sources_add_up() -> None:
    telemetry = MemoryTelemetry()
    telemetry.observe(SCORES, 0.5, "rank")
    other = Histogram(SCORES.bounds)
    other.add(-0.5)
    telemetry.watch(lambda: [Reading(SCORES, other.copy(), ("rank",))])
    assert samples(telemetry)["explore_test_score_bucket", ("+Inf", "rank")] == 2


def test_openmetrics_has_the_trace_of_an_observation() -> None:
    telemetry = MemoryTelemetry()
    telemetry._histogram(CALL, ("/s/M", "OK")).add(0.0012, TRACE)
    families = list(parse_openmetrics(generate_openmetrics(shown(telemetry)).decode()))
    exemplars = [each.exemplar for family in families for each in family.samples if each.exemplar]
    assert [(each.labels, each.value) for each in exemplars] == [({"trace_id": TRACE}, 0.0012)]


def test_labels_may_hold_anything() -> None:
    telemetry = MemoryTelemetry()
    odd = 'a"b\\c\n{}='
    telemetry.count(EVENTS, odd)
    assert samples(telemetry)["explore_test_events_total", (odd,)] == 1


def test_a_process_shows_itself_as_others_do() -> None:
    names = {name for name, _ in samples(MemoryTelemetry())}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "python_info"} <= names
