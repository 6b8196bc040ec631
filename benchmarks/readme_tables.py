"""The README's tables of what pages are worth and of KuaiRand, as the last full runs found them. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]

_CASCADE, _POPULARITY, _RANDOM = "cascade", "popularity", "random eligible"


def worlds(figures: Figures) -> str:
    """A row for each simulated world of benchmarks.quality: true value per item of pages, with 95 % intervals."""
    rows = []
    for run in figures["runs"]:
        pages = {each["page"]: each for each in run["pages"]}
        rows.append(
            [
                str(run["seed"]),
                *(_interval(pages[name]["value"], 2) for name in (_CASCADE, _POPULARITY, _RANDOM)),
                _interval(pages[_POPULARITY]["ratio"], 1),
                f"{run['funnel_value']['mean']:.4f}",
            ]
        )
    titles = ["world", "cascade", "popularity page", "random eligible page", "cascade / popularity", "funnel value"]
    return _table(titles, rows)


def kuairand(figures: Figures) -> str:
    """A row for each task of benchmarks.kuairand: AUC of both rankers over the seeds, mean and range."""
    rows = []
    for task, found in figures["tasks"].items():
        spreads = (_interval(found[stage], 4, "min", "max") for stage in ("rerank", "rank"))
        rows.append([task, f"{found['positives']:,}", f"{found['base_rate']:.4f}", *spreads])
    return _table(["task", "positives in test", "base rate", "deep ranker", "light ranker"], rows)


def _interval(found: Mapping[str, float], digits: int, low: str = "low", high: str = "high") -> str:
    return f"{found['mean']:.{digits}f} [{found[low]:.{digits}f}, {found[high]:.{digits}f}]"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
