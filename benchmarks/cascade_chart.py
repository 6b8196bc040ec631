"""The picture of benchmarks/cascade.py: one bar per way of serving, one piece per part of the work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("Agg")


def draw_parts(parts: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Writes the bars as PNG. `parts`: CPU milliseconds of a page, by way and part."""
    figure = Figure(figsize=(10, 1.2 + 0.8 * len(parts)), layout="constrained")
    axes = figure.subplots()
    names, colours = list(parts), mpl.colormaps["tab20"]
    left = [0.0] * len(names)
    for number, part in enumerate(next(iter(parts.values()))):
        widths = [parts[name][part] for name in names]
        axes.barh(names, widths, left=left, color=colours(number), label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms per page, all server processes")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
