"""The tables of benchmarks/cascade.py."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.cascade_floors import Sample

Samples = Sequence[Mapping[str, Any]]


def plain(sample: Sample) -> dict[str, Any]:
    """A sample as JSON has it."""
    return {**asdict(sample), "cpu_ms": sample.cpu_ms, "per_s": sample.per_s}


def median(samples: Samples, name: str) -> float:
    """Over repeats."""
    return statistics.median(sample[name] for sample in samples)


def spread(samples: Samples, name: str) -> str:
    """The least and the most."""
    values = [sample[name] for sample in samples]
    return f"{min(values):.1f} to {max(values):.1f}"


def ways_table(samples: Mapping[str, Samples], yardstick: str) -> Table:
    """What a page costs each way."""
    table = Table(title=f"A page, medians of repeats; x: CPU time over that of {yardstick}", box=box.SIMPLE_HEAD)
    columns = ("", "CPU ms", "of repeats", "x", "client", "pages/s", "p50 ms", "p99 ms")
    for column in columns:
        table.add_column(column, justify="right" if column else "left", min_width=0 if column else 17)
    base = median(samples[yardstick], "cpu_ms")
    for name, taken in samples.items():
        client_ms = statistics.median(each["client_cpu_s"] / max(each["requests"], 1) * 1e3 for each in taken)
        latency = [statistics.median(each["ms"][at] for each in taken) for at in ("p50", "p99")]
        table.add_row(
            name,
            f"{median(taken, 'cpu_ms'):.1f}",
            spread(taken, "cpu_ms"),
            f"{median(taken, 'cpu_ms') / base:.2f}",
            f"{client_ms:.2f}" if client_ms else "",
            f"{median(taken, 'per_s'):.1f}",
            *(f"{each:.0f}" if each >= 100 else f"{each:.1f}" for each in latency),
        )
    return table


def stages_table(samples: Mapping[str, Samples], names: Sequence[str]) -> Table:
    """Where the milliseconds of a floor go."""
    table = Table(title="Stages of our floor, ms per page (wall)", box=box.SIMPLE_HEAD)
    table.add_column("stage")
    for name in names:
        table.add_column(name, justify="right")
    for stage in samples[names[0]][0]["stage_ms"]:
        values = [statistics.median(each["stage_ms"][stage] for each in samples[name]) for name in names]
        table.add_row(stage, *(f"{value:.2f}" for value in values))
    return table


def parts_table(parts: Mapping[str, Mapping[str, float]]) -> Table:
    """CPU milliseconds of a page by part."""
    table = Table(title="Where the CPU time of a page goes, ms (with a stopwatch at every seam)", box=box.SIMPLE_HEAD)
    table.add_column("part")
    for name in parts:
        table.add_column(name, justify="right")
    for part in next(iter(parts.values())):
        table.add_row(part, *(f"{of_way[part]:.2f}" for of_way in parts.values()))
    table.add_row("all", *(f"{sum(of_way.values()):.2f}" for of_way in parts.values()))
    return table


def waited_table(waited: Mapping[str, Mapping[str, float]]) -> Table:
    """What a page waits for at saturation."""
    table = Table(title="Calls of a page at saturation, ms of wall time", box=box.SIMPLE_HEAD)
    for column in ("", "ms per page", "per page"):
        table.add_column(column, justify="right" if column else "left")
    for what, found in sorted(waited.items()):
        table.add_row(what, f"{found['ms']:.2f}", f"{found['calls_per_page']:.2f}")
    return table
