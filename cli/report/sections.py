"""Which sections a report has: figures drawn from the findings, tables, and words where something is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.judging_tables import LABELS, text
from cli.report import curves, inputs, quality
from cli.report.drawing import Picture
from cli.report.measure import Findings

_CURVES = ("rerank", "rank", "prerank")
_MEASURES = ("auc", "gauc", "ndcg")
_LOSS_COLUMNS = {
    "recall_page": "best 25 kept by prerank",
    "recall_rank": "best 50 kept by prerank",
    "ndcg": "NDCG@150",
    "funnel_value": "funnel value",
}


@dataclass(frozen=True)
class Table:
    """Rows of text below their headings."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of the page. `missing` says what could not be shown, and why."""

    title: str
    words: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    missing: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


def sections(found: Findings, folder: Path) -> list[Section]:
    """All sections, their pictures drawn into `folder`. Each stands for itself: a missing part leaves the others alone."""
    made: list[Callable[[Findings, Path], Section | None]] = [
        _learning,
        _quality,
        _calibration,
        _funnel,
        _student_losses,
        _ablations,
        _accounts,
    ]
    return [section for make in made if (section := make(found, folder)) is not None]


def _learning(found: Findings, folder: Path) -> Section:
    kept: dict[str, Any] = found.manifest.metrics.get("curves") or {}  # type: ignore[assignment]
    pictures = [curves.learning_curve(folder, stage, kept[stage]) for stage in _CURVES if kept.get(stage)]
    return Section(
        "Learning curves",
        "Loss on training batches since the point before, and on validation rows. Training keeps the weights of the circled point. "
        "A training loss that falls while the other rises has learned its rows by heart.",
        pictures,
        missing="" if pictures else "the manifest holds no learning curves",
    )


def _quality(found: Findings, folder: Path) -> Section:
    title = "What the rankers are worth"
    if found.figures is None:
        return Section(title, missing=found.unmeasured)
    figures, tasks = found.figures, list(found.figures["tasks"])
    stages = figures["bundles"]["A"]["stages"]
    rows = [
        [task, f"{counts['positives']:,}", f"{counts['base_rate']:.4f}"]
        + [text(stages[stage][task][name]) for stage in ("rerank", "rank") for name in ("log_loss", "ece")]
        for task, counts in figures["tasks"].items()
    ]
    heads = [
        "task",
        "positives",
        "base rate",
        *(f"{stage} {LABELS[n]}" for stage in ("rerank", "rank") for n in ("log_loss", "ece")),
    ]
    undefined = [task for task in tasks if stages["rerank"][task]["auc"]["mean"] is None]
    return Section(
        title,
        f"Measured on {figures['impressions']:,} impressions in {figures['requests']:,} requests of {figures['users']:,} users at "
        f"the end of {figures['dataset']!r}, which no model has learned from. AUC: how often a positive stands above a negative. "
        "GAUC: the same inside each user's impressions, with the history that the user had when the window began. "
        "NDCG@10: how high the positives stand in their request. 0.5 is chance for the first two. GAUC and NDCG take every item at "
        "the place that serving assumes; all else knows at which place of the page it was shown.",
        [quality.measure(folder, name, stages, tasks) for name in _MEASURES],
        [Table(heads, rows)],
        notes=[f"{', '.join(undefined)}: every impression of the window has the same label, so there is no AUC"]
        if undefined
        else (),
    )


def _calibration(found: Findings, folder: Path) -> Section:
    kept: dict[str, Any] = found.manifest.metrics.get("calibration") or {}  # type: ignore[assignment]
    pictures = [
        curves.calibration(folder, stage, task, heads)
        for task in found.manifest.tasks
        for stage in ("rerank", "rank")
        if (heads := kept.get(stage, {}).get(task)) and heads["after"]["count"]
    ]
    return Section(
        "Calibration",
        "On the test window of training. Bins hold equally many impressions; whiskers are 95 % intervals of the observed rate. "
        "Points on the line: what is predicted happens that often. Rare tasks have logarithmic axes, and bins without any positive "
        "stand on their lower edge.",
        pictures,
        missing="" if pictures else "the manifest holds no calibration curves",
    )


def _funnel(found: Findings, folder: Path) -> Section:
    title, metrics = "The funnel", found.manifest.metrics
    of: dict[str, Any] = metrics if found.figures is None else found.figures["bundles"]["A"]
    if not of.get("funnel") or not of.get("funnel_popularity_prerank"):
        return Section(title, missing=found.unmeasured or "the manifest holds no funnel")
    source = "by training" if found.figures is None else f"at the end of {found.figures['dataset']!r}"
    return Section(
        title,
        f"Candidates of {of['funnel']['n_slates']:,} users, sourced and ranked as in serving, measured {source}: what of the deep "
        "ranker's own choice from all candidates gets through the cheaper stages. Beside it, prerank replaced by the order of "
        "popularity. Some of these users' candidates may have taught the student.",
        quality.funnel(folder, of["funnel"], of["funnel_popularity_prerank"]),
    )


def _student_losses(found: Findings, folder: Path) -> Section | None:
    """Which loss the student was trained with, where training compared several."""
    compared: Any = found.manifest.metrics.get("student_losses")
    if not compared:
        return None
    rows = [
        [f"{name} (chosen)" if name == compared["chosen"] else name]
        + [text(measures[column]) if measures.get(column) else "-" for column in _LOSS_COLUMNS]
        for name, measures in compared["table"].items()
    ]
    words = "Losses that the prerank student was trained with, and what the funnel keeps with each."
    return Section("Losses of the student", words, tables=[Table(["loss", *_LOSS_COLUMNS.values()], rows)])


def _ablations(found: Findings, folder: Path) -> Section:
    title = "What the rankers read"
    if not found.ablations:
        return Section(title, missing=found.unmeasured)
    tasks = list(found.manifest.tasks)
    pictures = []
    for stage, ablations in found.ablations.items():
        pictures.append(inputs.ablation_table(folder, stage, ablations, tasks))
        pictures.append(inputs.ablation_dots(folder, stage, ablations, tasks[0]))
    return Section(
        title,
        f"AUC lost when an input says nothing about its row, on {found.ablation_rows:,} impressions spread over the test window: "
        "a feature's values are permuted over the rows, once and with a fixed seed, those of a group together; ids become "
        "unknown; the history becomes empty. The models are not trained again, so inputs that stand in for each other look worth "
        "little one by one.",
        pictures,
    )


def _accounts(found: Findings, folder: Path) -> Section:
    title = "Map of the accounts"
    if found.accounts is None:
        return Section(title, missing=found.unmapped)
    on_map = len(found.accounts.topic_I)
    return Section(
        title,
        f"The {on_map:,} of {found.accounts.accounts:,} accounts that have an ig2vec vector, on its two principal components, each "
        "marked by the topic that most of its media have. Accounts of one topic should lie together.",
        [inputs.embedding_map(folder, found.accounts)],
        notes=() if found.accounts.topics else ("the data set has no topics, so the accounts cannot be told apart",),
    )
