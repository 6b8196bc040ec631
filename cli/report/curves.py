"""Figures of what training left in the manifest: learning curves and reliability diagrams.

Shapes: J bins of a diagram.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cli.report.drawing import COLOURS, LINES, MARKERS, Drawing, Picture

_PANEL = (4.4, 3.6)
_RARE = 0.1  # base rate below which a linear axis would squeeze everything into a corner
_Z = 1.96


def learning_curve(folder: Path, stage: str, curve: list[dict[str, Any]]) -> Picture:
    """Training and validation loss of one model."""
    epoch = [point["epoch"] for point in curve]
    valid = [point["valid_loss"] for point in curve]
    best = min(range(len(curve)), key=lambda number: valid[number])
    with Drawing(folder, f"curve_{stage}.png", _PANEL) as axes:
        for number, (label, values) in enumerate(
            (("training", [p["train_loss"] for p in curve]), ("validation", valid))
        ):
            axes.plot(
                epoch, values, LINES[number], marker=MARKERS[number], color=COLOURS[number], label=label, markersize=5
            )
        axes.plot([epoch[best]], [valid[best]], "o", markersize=13, fillstyle="none", color="black", label="kept")
        axes.set(title=stage, xlabel="epoch", ylabel="loss")
        axes.margins(y=0.12)
        axes.legend()
    return Picture(
        f"curve_{stage}.png",
        f"{stage}: validation loss {valid[0]:.4f} at first, {valid[best]:.4f} at its best, in epoch {epoch[best]:.2g}",
    )


def calibration(folder: Path, stage: str, task: str, curves: dict[str, dict[str, list[float]]]) -> Picture:
    """Predicted against observed rates of one head, before and after calibration."""
    file, after = f"calibration_{stage}_{task}.png", curves["after"]
    rates, counts = np.array(after["observed"]), np.array(after["count"])
    rare = float(np.average(rates, weights=counts)) < _RARE
    extent = _extent(curves, rare)
    floor = extent[0] * 1.15 if rare else 0.0
    with Drawing(folder, file, _PANEL) as axes:
        axes.plot(extent, extent, color="black", linewidth=0.8, label="perfect")
        for number, moment in enumerate(("before", "after")):
            _diagram(axes, curves[moment], moment, number, floor)
        axes.set(
            title=f"{stage}, {task}\n{len(counts)} bins of about {int(np.median(counts)):,} impressions",
            xlabel="predicted rate",
            ylabel="observed rate",
        )
        if rare:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.set_xlim(extent)
        axes.set_ylim(extent)
        axes.legend(loc="upper left", fontsize=8)
    return Picture(file, f"{stage}, {task}: predicted against observed rates before and after calibration")


def _diagram(axes: Axes, curve: dict[str, list[float]], label: str, number: int, floor: float) -> None:
    predicted_J, observed_J, count_J = (
        np.array(curve[name], dtype=float) for name in ("predicted", "observed", "count")
    )
    low_J, high_J = _wilson(observed_J, count_J)
    shown_J = np.maximum(
        observed_J, floor
    )  # a rate of 0 has no place on a logarithmic axis: it stands at the lower edge
    look: dict[str, Any] = {"color": COLOURS[1 - number], "marker": MARKERS[1 - number]}
    axes.errorbar(
        np.maximum(predicted_J, floor),
        shown_J,
        yerr=[np.maximum(shown_J - np.maximum(low_J, floor), 0), np.maximum(high_J - shown_J, 0)],
        linestyle="none",
        markersize=4.5,
        fillstyle="full" if number else "none",
        elinewidth=0.8 if number else 0,
        label=f"{label} calibration",
        **look,
    )


def _extent(curves: dict[str, dict[str, list[float]]], rare: bool) -> tuple[float, float]:
    """The range of both axes: all rates that are drawn, with room for the legend above the line."""
    every = np.concatenate([np.array(curve[name]) for curve in curves.values() for name in ("predicted", "observed")])
    if rare:
        return float(every[every > 0].min(initial=1.0)) / 1.8, min(float(every.max()) * 1.8, 1.3)
    return -0.02, min(float(every.max()) * 1.15 + 0.02, 1.02)


def _wilson(
    rate_J: NDArray[np.float64], count_J: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of observed rates (Wilson, 1927), which stays inside 0 and 1 also where nothing happened."""
    spread_J = _Z * np.sqrt(rate_J * (1 - rate_J) / count_J + _Z**2 / (4 * count_J**2))
    middle_J, scale_J = rate_J + _Z**2 / (2 * count_J), 1 + _Z**2 / count_J
    return (middle_J - spread_J) / scale_J, (middle_J + spread_J) / scale_J
