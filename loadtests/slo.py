"""Was it good enough? Figures of a run or a part of it, bounds, and the verdict. Knows rows of counts, not who counted them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loadtests.client import DEGRADED, PAGES


@dataclass(frozen=True)
class Row:
    """What was counted of one kind of request. `times`: milliseconds -> how many took so long, failed ones included."""

    method: str
    name: str
    requests: int
    failures: int
    times: Mapping[int, int]

    def since(self, before: Row) -> Row:
        """What came after `before` was counted."""
        times = Counter({ms: n - before.times.get(ms, 0) for ms, n in self.times.items()})
        return Row(self.method, self.name, self.requests - before.requests, self.failures - before.failures, +times)


@dataclass(frozen=True)
class Bounds:
    """What a run must keep."""

    failed_share: float = 0.001  # of all requests
    page_p99_ms: float = 1000.0
    degraded_share: float = 0.01  # of the pages
    full_share: float = 0.999  # of the pages that were asked for: complete, in order, nothing twice


@dataclass(frozen=True)
class Figures:
    """What a run came to. Shares of nothing are NaN, which no bound holds."""

    requests: int
    failed: int
    pages_asked: int
    pages_full: int
    pages_degraded: int
    page_p50_ms: float
    page_p99_ms: float

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Figures:
        """All rows together."""
        rows = list(rows)
        pages = [row for row in rows if row.method == PAGES]
        times = Counter[int]()
        for row in pages:
            times.update(row.times)
        asked = sum(row.requests for row in pages)
        return cls(
            requests=sum(row.requests for row in rows),
            failed=sum(row.failures for row in rows),
            pages_asked=asked,
            pages_full=asked - sum(row.failures for row in pages),
            pages_degraded=sum(row.requests for row in pages if row.name.endswith(DEGRADED)),
            page_p50_ms=quantile(times, 0.50),
            page_p99_ms=quantile(times, 0.99),
        )


@dataclass(frozen=True)
class Judged:
    """One line of a verdict."""

    name: str
    value: float
    bound: float
    ok: bool
    unit: str

    def __str__(self) -> str:
        sign = "<=" if self.bound_is_upper else ">="
        number = "{:10.2%}" if self.unit == "share" else "{:7.0f} ms"
        outcome = "ok" if self.ok else "MISSED"
        return f"  {self.name:<16}{number.format(self.value)}   {sign} {number.format(self.bound).strip():<10}{outcome}"

    @property
    def bound_is_upper(self) -> bool:
        return self.name != FULL


FULL = "full pages"


@dataclass(frozen=True)
class Verdict:
    """Figures held against bounds."""

    figures: Figures
    lines: tuple[Judged, ...]

    @property
    def ok(self) -> bool:
        """Every bound was kept."""
        return all(line.ok for line in self.lines)

    @property
    def missed(self) -> str:
        """The bounds that were not, for people."""
        return ", ".join(line.name for line in self.lines if not line.ok)

    def __str__(self) -> str:
        figures = self.figures
        title = "SLO HELD" if self.ok else f"SLO MISSED: {self.missed}"
        about = f"{figures.requests:,} requests, {figures.pages_asked:,} of them for pages, p50 {figures.page_p50_ms:.0f} ms"
        return "\n".join([title, f"  {about}", *map(str, self.lines)])

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; NaN as null."""
        rows = [{**asdict(line), "value": _or_none(line.value)} for line in self.lines]
        return {
            "ok": self.ok,
            "figures": {name: _or_none(value) for name, value in asdict(self.figures).items()},
            "slo": rows,
        }


def judge(figures: Figures, bounds: Bounds) -> Verdict:
    """The verdict. Nothing measured is a miss."""
    failed = _share(figures.failed, figures.requests)
    degraded = _share(figures.pages_degraded, figures.pages_asked)
    full = _share(figures.pages_full, figures.pages_asked)
    p99_ms = figures.page_p99_ms
    return Verdict(
        figures,
        (
            Judged("failed requests", failed, bounds.failed_share, failed <= bounds.failed_share, "share"),
            Judged("page p99", p99_ms, bounds.page_p99_ms, p99_ms <= bounds.page_p99_ms, "ms"),
            Judged("degraded pages", degraded, bounds.degraded_share, degraded <= bounds.degraded_share, "share"),
            Judged(FULL, full, bounds.full_share, full >= bounds.full_share, "share"),
        ),
    )


def quantile(times: Mapping[int, int], q: float) -> float:
    """The smallest time that at least the share `q` of the requests did not exceed; NaN for none."""
    rank, seen = math.ceil(q * sum(times.values())), 0
    for ms in sorted(times):
        seen += times[ms]
        if seen >= rank > 0:
            return ms
    return math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
