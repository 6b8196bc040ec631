"""Tables of judged bundles for people: one bundle's measures, or two side by side with their paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from features.schema import Stage
from training.bundle_evaluation import MEASURES, NDCG_AT

LABELS = {"auc": "AUC", "gauc": "GAUC", "ndcg": f"NDCG@{NDCG_AT}", "log_loss": "log loss", "ece": "ECE"}
FUNNEL_LABELS = {
    "recall_page": "best 25 among the 150 of prerank",
    "recall_page_after_rank": "best 25 among the 50 of rank",
    "recall_rank": "best 50 among the 150 of prerank",
    "ndcg": "NDCG@150 of prerank",
    "funnel_value": "value of the page / best possible",
}
_COMPARED = ("auc", "gauc", "ndcg", "ece")
_LOWER_IS_BETTER = frozenset({"log_loss", "ece"})
_STAGES = (Stage.RERANK, Stage.RANK, Stage.PRERANK)

Bounds = Mapping[str, float | None]


def judgement_tables(figures: dict[str, Any]) -> Group:
    """What `cli.judging.judge_bundles` found."""
    about = (
        f"{figures['dataset']!r}, {_moment(figures['window']['start_ms'])} to {_moment(figures['window']['end_ms'])}: "
        f"{figures['impressions']:,} impressions in {figures['requests']:,} requests of {figures['users']:,} users; "
        "95 % intervals over resampled users"
    )
    bundles = [f"{letter} = {of_bundle['bundle']}" for letter, of_bundle in figures["bundles"].items()]
    if "differences" in figures:
        tables = [*(_compared(figures, stage) for stage in _STAGES), _compared_funnels(figures)]
    else:
        tables = [*(_alone(figures, stage) for stage in _STAGES), _funnel(figures)]
    return Group(about, *bundles, *tables)


def text(bounds: Bounds, digits: int = 4, sign: str = "") -> str:
    """A mean with its interval; "-" where it is undefined."""
    if bounds["mean"] is None:
        return "-"
    shown = [
        f"{bounds[name]:{sign}.{digits}f}" if bounds[name] is not None else "-" for name in ("mean", "low", "high")
    ]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def ahead(lead: Bounds, lower_is_better: bool = False) -> str:
    """The better one where the interval of A - B excludes 0, otherwise nothing."""
    low, high = lead["low"], lead["high"]
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "A" if (low > 0) != lower_is_better else "B"


def _alone(figures: dict[str, Any], stage: Stage) -> RenderableType:
    of_task = figures["bundles"]["A"]["stages"][stage]
    measures = [name for name in MEASURES if any(name in found for found in of_task.values())]
    table = _table(str(stage), ["task", "positives", "base rate", *(LABELS[name] for name in measures)])
    for task, found in of_task.items():
        counts = figures["tasks"][task]
        positives, rate = f"{counts['positives']:,}", f"{counts['base_rate']:.4f}"
        table.add_row(task, positives, rate, *(text(found[name]) for name in measures))
    return table


def _compared(figures: dict[str, Any], stage: Stage) -> RenderableType:
    first, second = (figures["bundles"][letter]["stages"][stage] for letter in ("A", "B"))
    table = _table(str(stage), ["task", "measure", "A", "B", "A - B", "ahead"])
    weights = figures["bundles"]["A"]["value_weights"]
    for task, leads in figures["differences"]["stages"][stage].items():
        shown = [name for name in _COMPARED if name in leads]
        for name in shown:
            lead = leads[name]
            table.add_row(
                task if name == shown[0] else "",
                LABELS[name],
                text(first[task][name]),
                text(second[task][name]),
                text(lead, sign="+"),
                # Prerank has one order by value: it should put low what users must not do.
                ahead(lead, (stage is Stage.PRERANK and weights.get(task, 0) < 0) or name in _LOWER_IS_BETTER),
                end_section=name == shown[-1],
            )
    return table


def _funnel(figures: dict[str, Any]) -> RenderableType:
    distilled, popular = (figures["bundles"]["A"][name] for name in ("funnel", "funnel_popularity_prerank"))
    table = _table(
        f"funnel of {distilled['n_slates']} users", ["measure", "distilled prerank", "prerank by popularity"]
    )
    for name, label in FUNNEL_LABELS.items():
        table.add_row(label, text(distilled[name]), text(popular[name]))
    return table


def _compared_funnels(figures: dict[str, Any]) -> RenderableType:
    first, second = (figures["bundles"][letter]["funnel"] for letter in ("A", "B"))
    title = f"funnel of {first['n_slates']} users, each judged by its own deep ranker"
    table = _table(title, ["measure", "A", "B", "A - B", "ahead"])
    for name, label in FUNNEL_LABELS.items():
        lead = figures["differences"]["funnel"][name]
        table.add_row(label, text(first[name]), text(second[name]), text(lead, sign="+"), ahead(lead))
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("task", "measure", "ahead") else "right", no_wrap=True)
    return table


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
