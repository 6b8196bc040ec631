"""What the runtime measures, behind one small seam. Knows no exporter: those implement `Telemetry` beside this file."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Protocol

# Upper bounds of the latency buckets in seconds: 100 us to 10 s, about 1.6 times the one before, then everything above.
BUCKETS_S = tuple(round(1e-4 * 10 ** (i / 5), 7) for i in range(26))


class Telemetry(Protocol):
    """Where measurements go. Called on the event loop, so it must not block and must not raise."""

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        """A call that this process answered: full method name, gRPC status name, time inside the process."""

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """A piece of work inside a call; `outcome` is "ok" or the name of an error class."""


class NoTelemetry:
    """Measures nothing."""

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        """Forgets it."""

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """Forgets it."""


@dataclass
class Histogram:
    """Counts of durations by bucket; `counts[i]` holds those up to `BUCKETS_S[i]`, the last one everything above."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """Upper bound in seconds of the bucket that holds the quantile, 0 <= q <= 1; 0 if empty, inf above the last bound."""
        rank, seen = q * self.count, 0
        if not self.count:
            return 0.0
        for bound, count in zip(BUCKETS_S, self.counts, strict=False):
            seen += count
            if seen >= rank and seen > 0:
                return bound
        return float("inf")


@dataclass(frozen=True)
class Line:
    """One row of a snapshot."""

    kind: str  # "call" or "stage"
    name: str
    outcome: str
    count: int
    mean_s: float
    p50_s: float
    p99_s: float


class MemoryTelemetry:
    """Counts and latency histograms in memory, for `snapshot` and the log line at shutdown."""

    def __init__(self) -> None:
        self._histograms: dict[tuple[str, str, str], Histogram] = {}

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        """Counts a call."""
        self._add("call", method, status, seconds)

    def observe_stage(self, stage: str, outcome: str, seconds: float) -> None:
        """Counts a stage."""
        self._add("stage", stage, outcome, seconds)

    def snapshot(self) -> list[Line]:
        """Everything so far, ordered by kind, name and outcome."""
        return [
            Line(*key, h.count, h.total_s / h.count, h.quantile(0.5), h.quantile(0.99))
            for key, h in sorted(self._histograms.items())
        ]

    def _add(self, kind: str, name: str, outcome: str, seconds: float) -> None:
        self._histograms.setdefault((kind, name, outcome), Histogram()).add(seconds)
