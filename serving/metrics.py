"""What a MemoryTelemetry holds, as families of prometheus_client, beside the figures of the process itself. Knows no HTTP."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from serving.telemetry import Histogram, Labels, Measure, Reading

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
Buckets = list[tuple[str, float] | tuple[str, float, Exemplar]]

_JOIN: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "least": min, "most": max}


class Measures(Collector):
    """Asks `take` for all readings and shows them."""

    def __init__(self, take: Callable[[], Iterable[Reading]]) -> None:
        self._take = take

    def describe(self) -> Iterable[Family]:
        """Nothing in advance: the registry must not ask before somebody scrapes."""
        return ()

    def collect(self) -> Iterator[Family]:
        """One family per measure, in the order of their names."""
        for measure, values in sorted(_joined(self._take()).items(), key=lambda item: item[0].name):
            yield _family(measure, values)


def registry(take: Callable[[], Iterable[Reading]]) -> CollectorRegistry:
    """All that one process shows: its readings, and process_*, python_* as every Python program has them."""
    made = CollectorRegistry()
    made.register(Measures(take))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


def _joined(readings: Iterable[Reading]) -> dict[Measure, dict[Labels, float | Histogram]]:
    found: dict[Measure, dict[Labels, float | Histogram]] = {}
    for reading in readings:
        values = found.setdefault(reading.measure, {})
        before, value = values.get(reading.labels), reading.value
        if isinstance(value, Histogram) and isinstance(before, Histogram):
            before.join(value)
        elif isinstance(value, Histogram) or isinstance(before, Histogram):
            values[reading.labels] = value
        else:
            values[reading.labels] = value if before is None else _JOIN[reading.measure.joined](before, value)
    return found


def _family(measure: Measure, values: dict[Labels, float | Histogram]) -> Family:
    if measure.kind == "histogram":
        histograms = HistogramMetricFamily(measure.name, measure.help, labels=measure.labels)
        for labels, value in sorted(values.items()):
            if isinstance(value, Histogram):
                histograms.add_metric(labels, _buckets(value), value.total)
        return histograms
    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    numbers = kind(measure.name, measure.help, labels=measure.labels)
    for labels, value in sorted(values.items()):
        if not isinstance(value, Histogram):
            numbers.add_metric(labels, value)
    return numbers


def _buckets(histogram: Histogram) -> Buckets:
    """Cumulative, as Prometheus wants them."""
    buckets: Buckets = []
    seen = 0
    for at, (bound, count) in enumerate(zip((*histogram.bounds, float("inf")), histogram.counts, strict=True)):
        seen += count
        exemplar = histogram.exemplars.get(at)
        name = "+Inf" if math.isinf(bound) else repr(float(bound))
        if exemplar is None:
            buckets.append((name, seen))
        else:
            buckets.append((name, seen, Exemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.at_s)))
    return buckets
