"""What the runtime measures, behind one small seam. Knows no exporter: `metrics.py` shows what is collected here to Prometheus.

A measure is declared once, where it is taken, and recorded in memory: one bisection and two additions. Labels are bounded: no user,
no media and no text that somebody sent; and whatever happens, a measure has at most MAX_SERIES combinations of labels.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isnan
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.tracing import sampled_trace_id

# Upper bounds of the latency buckets in seconds: 100 us to 10 s, about 1.6 times the one before, then everything above.
BUCKETS_S = tuple(round(1e-4 * 10 ** (i / 5), 7) for i in range(26))

MAX_SERIES = 500  # of one measure; what comes beyond is counted under OTHER, so that a mistake cannot fill the memory
OTHER = "_other"

Labels = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Measure:
    """A name with its unit, as Prometheus writes names; what it means; the names of its labels; for a histogram, its bounds."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels = ()
    bounds: tuple[float, ...] = BUCKETS_S
    joined: Literal["sum", "least", "most"] = "sum"  # what several readings are together: services may share a process


CALL = Measure(
    "explore_call_duration_seconds",
    "Time inside this process of the unary calls that it answered.",
    "histogram",
    ("method", "status"),
)
STAGE = Measure(
    "explore_stage_duration_seconds",
    "Time from the decoded request to the answer inside a stage's own process.",
    "histogram",
    ("stage", "outcome"),
)


class Exemplar(NamedTuple):
    """One observation of a bucket that somebody can look at: its trace was recorded."""

    trace_id: str
    value: float
    at_s: float  # since the epoch


class Histogram:
    """Counts of values by bucket; `counts[i]` holds those up to `bounds[i]`, the last one everything above."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}  # by bucket, the newest

    def add(self, value: float, trace_id: str = "") -> None:
        """Counts one value, unless it is NaN: the total would be lost for good."""
        if isnan(value):
            return
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if trace_id:
            self.exemplars[bucket] = Exemplar(trace_id, value, time.time())

    def add_all(self, value_N: NDArray[np.floating]) -> None:
        """Counts many values at once, but for those that are NaN."""
        unknown_N = np.isnan(value_N)
        if unknown_N.any():
            value_N = value_N[~unknown_N]
        bucket_N = np.array(self.bounds).searchsorted(value_N)
        count_X = np.bincount(bucket_N, minlength=len(self.counts)).tolist()
        self.counts = [before + more for before, more in zip(self.counts, count_X, strict=True)]
        self.total += float(value_N.sum(dtype=np.float64))

    def copy(self) -> Histogram:
        """As it is now."""
        copied = Histogram(self.bounds)
        copied.counts, copied.total, copied.exemplars = self.counts[:], self.total, dict(self.exemplars)
        return copied

    def join(self, other: Histogram) -> None:
        """Adds what another one of the same bounds has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.exemplars |= other.exemplars

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """Upper bound of the bucket that holds the quantile, 0 <= q <= 1; 0 if empty, inf above the last bound."""
        rank, seen = q * self.count, 0
        if not self.count:
            return 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen >= rank and seen > 0:
                return bound
        return float("inf")


@dataclass(frozen=True)
class Reading:
    """A measure as it is now. Readings of the same measure and labels are joined, as the measure says."""

    measure: Measure
    value: float | Histogram
    labels: Labels = ()


Source = Callable[[], Iterable[Reading]]


class Telemetry(Protocol):
    """Where measurements go. Called on the event loop, so it must not block and must not raise."""

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        """A call that this process answered: full method name, gRPC status name, time inside the process."""

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """A piece of work inside a call; `outcome` is "ok" or the name of an error class."""

    def observe(self, measure: Measure, value: float, *labels: str) -> None:
        """One value of a histogram."""

    def observe_all(self, measure: Measure, value_N: NDArray[np.floating], *labels: str) -> None:
        """Many values of a histogram."""

    def count(self, measure: Measure, *labels: str, by: float = 1) -> None:
        """Something that happened, of a counter."""

    def watch(self, source: Source) -> None:
        """Asks `source`, on the event loop, whenever somebody wants to see the measures. It must be quick."""


class NoTelemetry:
    """Measures nothing."""

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        """Forgets it."""

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """Forgets it."""

    def observe(self, measure: Measure, value: float, *labels: str) -> None:
        """Forgets it."""

    def observe_all(self, measure: Measure, value_N: NDArray[np.floating], *labels: str) -> None:
        """Forgets it."""

    def count(self, measure: Measure, *labels: str, by: float = 1) -> None:
        """Forgets it."""

    def watch(self, source: Source) -> None:
        """Never asks."""


@dataclass(frozen=True)
class Line:
    """One histogram of durations, for people."""

    measure: str
    labels: dict[str, str]
    count: int
    mean_s: float
    p50_s: float
    p99_s: float


class MemoryTelemetry:
    """Everything in memory: for Prometheus when it asks, and for the log line at shutdown."""

    def __init__(self) -> None:
        self._histograms: dict[Measure, dict[Labels, Histogram]] = {}
        self._counts: dict[Measure, dict[Labels, float]] = {}
        self._sources: list[Source] = []

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        """Counts a call."""
        self._histogram(CALL, (method, status)).add(seconds, sampled_trace_id())

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """Counts a stage."""
        self._histogram(STAGE, (stage, outcome)).add(seconds, sampled_trace_id())

    def observe(self, measure: Measure, value: float, *labels: str) -> None:
        """Counts a value."""
        self._histogram(measure, labels).add(value, sampled_trace_id())

    def observe_all(self, measure: Measure, value_N: NDArray[np.floating], *labels: str) -> None:
        """Counts values."""
        self._histogram(measure, labels).add_all(value_N)

    def count(self, measure: Measure, *labels: str, by: float = 1) -> None:
        """Adds to a count."""
        counts = self._counts.setdefault(measure, {})
        labels = _bounded(counts, labels)
        counts[labels] = counts.get(labels, 0.0) + by

    def watch(self, source: Source) -> None:
        """Asks it from now on."""
        self._sources.append(source)

    def readings(self) -> list[Reading]:
        """Everything as it is now, for the event loop; what is returned changes no more."""
        found = [
            Reading(measure, histogram.copy(), labels)
            for measure, histograms in self._histograms.items()
            for labels, histogram in histograms.items()
        ]
        found += [
            Reading(measure, count, labels)
            for measure, counts in self._counts.items()
            for labels, count in counts.items()
        ]
        return [*found, *(reading for source in self._sources for reading in source())]

    def snapshot(self) -> list[Line]:
        """All durations so far, ordered by measure and labels."""
        return [
            Line(
                measure.name,
                dict(zip(measure.labels, labels, strict=True)),
                found.count,
                found.total / found.count,
                found.quantile(0.5),
                found.quantile(0.99),
            )
            for measure, histograms in sorted(self._histograms.items(), key=lambda item: item[0].name)
            if measure.bounds is BUCKETS_S
            for labels, found in sorted(histograms.items())
        ]

    def _histogram(self, measure: Measure, labels: Labels) -> Histogram:
        histograms = self._histograms.get(measure)
        if histograms is None:
            histograms = self._histograms[measure] = {}
        found = histograms.get(labels)
        if found is None:
            labels = _bounded(histograms, labels)
            found = histograms.setdefault(labels, Histogram(measure.bounds))
        return found


def _bounded(series: dict[Labels, float] | dict[Labels, Histogram], labels: Labels) -> Labels:
    """The labels, or OTHER in their place if there are too many of them already."""
    return labels if labels in series or len(series) < MAX_SERIES else (OTHER,) * len(labels)
