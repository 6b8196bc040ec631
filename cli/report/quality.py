"""Figures of what the stages are worth on the test window: measures per task, and what the funnel keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.judging_tables import LABELS
from cli.report.drawing import Dot, Drawing, Picture, whiskers

_WIDTH = 6.4
_FUNNEL_ROWS = {
    "recall_page": "after prerank:\nbest 25 among its 150",
    "recall_page_after_rank": "after rank:\nbest 25 among its 50",
    "recall_rank": "after prerank:\nbest 50 among its 150",
    "ndcg": "order of prerank:\nNDCG@150",
}


def measure(folder: Path, name: str, stages: dict[str, Any], tasks: list[str]) -> Picture:
    """One measure of rerank and rank, all tasks, with intervals."""
    series = {stage: [Dot.of(stages[stage].get(task, {}).get(name)) for task in tasks] for stage in ("rerank", "rank")}
    with Drawing(folder, f"{name}.png", (_WIDTH, 1.3 + 0.5 * len(tasks))) as axes:
        whiskers(axes, tasks, series)
        axes.set_xlabel(f"{LABELS[name]} (95 % interval over resampled users)")
    best = ", ".join(
        f"{task} {dot.mean:.3f}" for task, dot in zip(tasks, series["rerank"], strict=True) if dot.mean is not None
    )
    return Picture(f"{name}.png", f"{LABELS[name]} of rerank per task: {best or 'undefined'}")


def funnel(folder: Path, distilled: dict[str, Any], popular: dict[str, Any]) -> list[Picture]:
    """Recall per stage and the value that comes out, with the student and with popularity in its place."""
    named = {"distilled prerank": distilled, "prerank by popularity": popular}
    rows = {name: label for name, label in _FUNNEL_ROWS.items() if name in distilled}
    with Drawing(folder, "funnel_recall.png", (_WIDTH, 1.3 + 0.62 * len(rows))) as axes:
        whiskers(
            axes,
            list(rows.values()),
            {label: [Dot.of(found.get(name)) for name in rows] for label, found in named.items()},
        )
        axes.set_xlabel("share of what the deep ranker would have chosen from all candidates")
        axes.set_xlim(right=1.005)
    value = {label: [Dot.of(found.get("funnel_value"))] for label, found in named.items()}
    with Drawing(folder, "funnel_value.png", (_WIDTH, 2.0)) as axes:
        whiskers(axes, ["value of the page /\nbest possible"], value, digits=4)
        axes.set_xlabel("by the deep ranker, mean over users (95 % interval)")
    return [
        Picture("funnel_recall.png", _said("share kept", rows, named)),
        Picture("funnel_value.png", _said("funnel value", {"funnel_value": "value"}, named)),
    ]


def _said(what: str, rows: dict[str, str], named: dict[str, dict[str, Any]]) -> str:
    parts = []
    for label, found in named.items():
        values = [
            f"{text.replace(chr(10), ' ')} {found[name]['mean']:.4f}"
            for name, text in rows.items()
            if found.get(name) and found[name]["mean"] is not None
        ]
        parts.append(f"{label}: {', '.join(values) or 'undefined'}")
    return f"{what}; {'; '.join(parts)}"
