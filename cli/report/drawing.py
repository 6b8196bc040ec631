"""How every figure of a report looks: sizes, fonts, and series that can be told apart without colours. Knows no numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_DPI = 130
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

# Okabe and Ito's colours, which colour-blind people tell apart; markers and lines say the same without any colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.")
GREY = "#999999"


@dataclass(frozen=True)
class Picture:
    """A figure on disk. `alt` says in words what it shows."""

    file: str
    alt: str


@dataclass(frozen=True)
class Dot:
    """A mean with its interval, None where it is undefined."""

    mean: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, bounds: Mapping[str, float | None] | None) -> Dot:
        """Of an interval as JSON holds it."""
        return cls(None, None, None) if bounds is None else cls(bounds["mean"], bounds["low"], bounds["high"])


class Drawing:
    """One figure that becomes a file. Use as a context: what is drawn inside has the look of a report."""

    def __init__(self, folder: Path, file: str, size: tuple[float, float]) -> None:
        self._path, self._look = folder / file, rc_context(_STYLE)  # type: ignore[arg-type]  # its stubs list every setting by name
        self._size = size

    def __enter__(self) -> Axes:
        self._look.__enter__()
        self.figure = Figure(figsize=self._size, dpi=_DPI)
        return self.figure.add_subplot()

    def __exit__(self, failed: type[BaseException] | None, *error: object) -> None:
        try:
            if failed is None:
                self.figure.savefig(self._path, format="png", metadata={"Software": None})
        finally:
            self._look.__exit__(None, None, None)


def whiskers(
    axes: Axes, names: Sequence[str], series: Mapping[str, Sequence[Dot]], digits: int = 3, size: float = 6
) -> None:
    """Names from top to bottom, a dot with its interval and its value for each series; what is undefined is said in words."""
    step = 0.8 / max(len(series), 1)
    for number, (label, dots) in enumerate(series.items()):
        look: dict[str, Any] = {"color": COLOURS[number], "marker": MARKERS[number]}
        axes.plot([], [], linestyle="none", label=label, **look)
        for place, dot in enumerate(dots):
            height = place + (number - (len(series) - 1) / 2) * step
            if dot.mean is None or dot.low is None or dot.high is None:
                axes.annotate(
                    "undefined", (0.01, height), xycoords=("axes fraction", "data"), va="center", color=GREY, size=8
                )
                continue
            axes.plot([dot.low, dot.high], [height, height], color=COLOURS[number], linewidth=1.4)
            axes.plot([dot.mean], [height], markersize=size, linestyle="none", **look)
            # Behind the axes, where no whisker can run into it.
            axes.annotate(
                f"{round(dot.mean, digits) + 0.0:.{digits}f}",  # never -0
                (1.01, height),
                xycoords=("axes fraction", "data"),
                va="center",
                size=8,
                color=COLOURS[number],
            )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    for place in range(1, len(names)):
        axes.axhline(place - 0.5, color="#eeeeee", linewidth=0.8)
    if len(series) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series))
