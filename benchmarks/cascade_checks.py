"""What the figures of benchmarks/cascade.py must keep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.cascade_tables import median
from benchmarks.cascade_ways import BATCHED, CASCADE, MONOLITH, NAIVE, OURS, SOCKETS, TOGETHER, closed, opened
from benchmarks.report import Check, at_least, at_most

CPU_RATIO, THROUGHPUT_RATIO, FLOOR_RATIO = 1.25, 0.85, 2.0
SAME_PAGES, SAME_VALUES = 0.999, 1e-3
ADDED_MS, TAIL_RATIO, READY_S, LOST_SHARE = 3.0, 5.0, 3.0, 0.001
RANKING = ("prerank_svc", "rank_svc", "rerank_svc")
_LOADED = (8, 32)  # callers at which a cascade is saturated


def floor_checks(figures: Mapping[str, Any]) -> list[Check]:
    """Those that need no server."""
    cost_ms = {name: median(taken, "cpu_ms") for name, taken in figures["samples"].items()}
    pages = figures["pages"].get("floors", figures["pages"])
    return [
        at_least("requests per CPU second, our floor / naive floor", cost_ms[NAIVE] / cost_ms[BATCHED], FLOOR_RATIO),
        at_least("pages with the same ids, naive floor and ours", pages["same_ids"], SAME_PAGES),
        at_most("largest gap of a value, naive floor and ours", pages["worst_value_gap"], SAME_VALUES),
    ]


def checks_of(figures: Mapping[str, Any]) -> list[Check]:
    """All of them. Where several loads saturate a server, its best one counts, for the cascade and for what it is held against."""
    samples = figures["samples"]

    def best(name: str, value: str) -> float:
        found = [median(samples[closed(name, callers)], value) for callers in _LOADED]
        return min(found) if value == "cpu_ms" else max(found)

    def latency(name: str, at: str) -> float:
        return statistics.median(each["ms"][at] for each in samples[name])

    cascade_ms = min(best(name, "cpu_ms") for name in (CASCADE, SOCKETS))
    cascade_per_s = max(best(name, "per_s") for name in (CASCADE, SOCKETS))
    alone_ms, loaded_ms = latency(closed(CASCADE, 1), "p50"), latency(opened(CASCADE, 0.8), "p99")
    asked = sum(each["requests"] + sum(each["lost"].values()) for taken in _served(samples) for each in taken)
    lost = sum(sum(each["lost"].values()) for taken in _served(samples) for each in taken)
    pages = [figures["pages"][name] for name in (CASCADE, SOCKETS, TOGETHER, MONOLITH)]
    return [
        at_most(
            "server CPU per page, cascade / our floor in batches",
            cascade_ms / median(samples[BATCHED], "cpu_ms"),
            CPU_RATIO,
        ),
        at_least("pages per second, cascade / monolith", cascade_per_s / best(MONOLITH, "per_s"), THROUGHPUT_RATIO),
        *floor_checks(figures),
        at_least("pages with the same ids, servers and our floor", min(each["same_ids"] for each in pages), SAME_PAGES),
        at_most(
            "largest gap of a value, servers and our floor", max(each["worst_value_gap"] for each in pages), SAME_VALUES
        ),
        at_most("unloaded p50, cascade - our floor, ms", alone_ms - latency(OURS, "p50"), ADDED_MS),
        at_most(
            "p99 at 80 % of saturation / unloaded p50",
            loaded_ms / alone_ms,
            TAIL_RATIO,
        ),
        at_most("calls without a whole page / all", lost / max(asked, 1), LOST_SHARE),
        at_most("start to ready of a ranking service, s", max(figures["ready_s"][name] for name in RANKING), READY_S),
    ]


def _served(samples: Mapping[str, Any]) -> list[Any]:
    return [taken for taken in samples.values() if taken[0]["lost"] is not None]
