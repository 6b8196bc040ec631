"""Figures of what the models read: AUC lost without an input, and the map of account vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from cli.report.drawing import COLOURS, GREY, MARKERS, Dot, Drawing, Picture, whiskers
from features.item_table import UNKNOWN_TOPIC
from training.bundle_evaluation import Ablation, EmbeddingMap
from training.metrics import Interval

_SHOWN = 20  # features, those that matter most
_NAMED_TOPICS = len(MARKERS)


def ablation_table(folder: Path, stage: str, found: Sequence[Ablation], tasks: Sequence[str]) -> Picture:
    """AUC lost per input and task, as numbers on shades: groups first, then the features that matter most."""
    rows = [*(one for one in found if one.kind == "group"), *most_important(found)]
    groups = sum(one.kind == "group" for one in found)
    lost = np.round([[one.loss[task].mean * 1000 for task in tasks] for one in rows], 1)
    file = f"ablation_{stage}.png"
    with Drawing(folder, file, (2.7 + 0.72 * len(tasks), 1.2 + 0.27 * len(rows))) as axes:
        most = max(float(np.nanmax(lost, initial=1.0)), 1.0)
        # Small losses differ by factors, so shades follow their square roots; the numbers are what counts.
        axes.imshow(
            np.sqrt(np.clip(np.nan_to_num(lost), 0, None) / most), cmap="Blues", vmin=0, vmax=1.6, aspect="auto"
        )
        for row, one in enumerate(rows):
            for column, task in enumerate(tasks):
                sure = _is_sure(one.loss[task])
                text = "–" if np.isnan(lost[row, column]) else f"{lost[row, column] + 0.0:.1f}"
                axes.text(
                    column,
                    row,
                    text if sure else f"({text})",
                    ha="center",
                    va="center",
                    size=8,
                    weight="bold" if sure else "normal",
                    color="black" if sure else "#666666",
                )
        axes.axhline(groups - 0.5, color="black", linewidth=1)
        axes.set_yticks(range(len(rows)), [one.name for one in rows])
        axes.set_xticks(range(len(tasks)), list(tasks), rotation=35, ha="left")
        axes.xaxis.tick_top()
        axes.grid(visible=False)
        axes.set_title(f"{stage}: AUC lost, in thousandths; (in brackets: may be chance)", size=10)
    leading = ", ".join(one.name for one in rows[groups : groups + 3])
    return Picture(file, f"{stage}: AUC lost without each input; the features that matter most are {leading}")


def ablation_dots(folder: Path, stage: str, found: Sequence[Ablation], task: str) -> Picture:
    """AUC lost on one task with intervals: groups, then the features that matter most for this task."""
    features = sorted(
        (one for one in found if one.kind == "feature"), key=lambda one: -np.nan_to_num(one.loss[task].mean)
    )
    rows = [*(one for one in found if one.kind == "group"), *features[:_SHOWN]]
    dots = [_dot(one.loss[task]) for one in rows]
    file = f"ablation_{stage}_{task}.png"
    with Drawing(folder, file, (6.4, 1.2 + 0.27 * len(rows))) as axes:
        whiskers(axes, [one.name for one in rows], {stage: dots}, digits=4, size=4)
        axes.axhline(len(rows) - len(features[:_SHOWN]) - 0.5, color="black", linewidth=1)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=f"{stage}, {task}", xlabel="AUC lost (95 % interval over resampled users)")
    return Picture(file, f"{stage}, {task}: AUC lost without each input, with intervals")


def most_important(found: Sequence[Ablation], most: int = _SHOWN) -> list[Ablation]:
    """The features by the largest loss on any task that is no chance, then by their mean loss."""

    def weight(one: Ablation) -> tuple[float, float]:
        losses = [loss.mean for loss in one.loss.values()]
        sure = [loss.mean for loss in one.loss.values() if _is_sure(loss)]
        known = [loss for loss in losses if not np.isnan(loss)]
        return max(sure, default=0.0), float(np.mean(known)) if known else 0.0

    return sorted((one for one in found if one.kind == "feature"), key=weight, reverse=True)[:most]


def embedding_map(folder: Path, accounts: EmbeddingMap) -> Picture:
    """Accounts where their vectors put them, marked by main topic; the most frequent topics are named."""
    sizes = np.bincount(accounts.topic_I[accounts.topic_I != UNKNOWN_TOPIC], minlength=len(accounts.topics))
    named = [int(topic) for topic in np.argsort(-sizes, kind="stable")[:_NAMED_TOPICS] if sizes[topic]]
    size = max(4.0, 36.0 / max(1.0, len(accounts.topic_I) / 300) ** 0.5)
    with Drawing(folder, "accounts.png", (7.0, 5.2)) as axes:
        rest_I = ~np.isin(accounts.topic_I, named)
        if rest_I.any():
            label = "other or no topic" if named else "no topic known"
            axes.scatter(*_xy(accounts, rest_I), s=size / 2, color=GREY, alpha=0.5, linewidths=0, label=label)
        for number, topic in enumerate(named):
            of_topic_I = accounts.topic_I == topic
            axes.scatter(
                *_xy(accounts, of_topic_I),
                s=size,
                color=COLOURS[number],
                marker=MARKERS[number],
                alpha=0.75,
                linewidths=0,
                label=f"{accounts.topics[topic]} ({sizes[topic]:,})",
            )
        middle_T2 = np.array([np.median(accounts.place_I2[accounts.topic_I == topic], axis=0) for topic in named])
        for number, (topic, place_2) in enumerate(zip(named, _apart(middle_T2, accounts), strict=True)):
            axes.annotate(
                accounts.topics[topic],
                tuple(place_2),
                ha="center",
                va="center",
                size=9,
                weight="bold",
                color=COLOURS[number],
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
        first, second = (f"{share:.0%}" for share in accounts.explained)
        axes.set(xlabel=f"1st principal component ({first} of variance)", ylabel=f"2nd ({second})")
        axes.legend(
            loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, title="main topic (accounts)", markerscale=1.4
        )
    topics = ", ".join(accounts.topics[topic] for topic in named) or "none"
    return Picture(
        "accounts.png", f"{len(accounts.topic_I)} account vectors on two principal components; topics: {topics}"
    )


def _xy(accounts: EmbeddingMap, chosen_I: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return accounts.place_I2[chosen_I, 0], accounts.place_I2[chosen_I, 1]


def _apart(middle_T2: NDArray[np.float32], accounts: EmbeddingMap) -> NDArray[np.float32]:
    """Places of labels near the middles of their topics, moved down where they would lie on each other."""
    if not len(middle_T2):
        return middle_T2
    width, height = np.ptp(accounts.place_I2, axis=0) * np.array([0.22, 0.05])
    placed: list[NDArray[np.float32]] = []
    for number in np.argsort(-middle_T2[:, 1]):
        place_2 = middle_T2[number].copy()
        for other_2 in sorted(placed, key=lambda other_2: -other_2[1]):
            if abs(place_2[0] - other_2[0]) < width and other_2[1] - height < place_2[1]:
                place_2[1] = other_2[1] - height
        placed.append(place_2)
    order = np.argsort(np.argsort(-middle_T2[:, 1]))
    return np.stack(placed)[order]


def _is_sure(loss: Interval) -> bool:
    return not np.isnan(loss.mean) and (loss.low > 0 or loss.high < 0)


def _dot(loss: Interval) -> Dot:
    return Dot(None, None, None) if np.isnan(loss.mean) else Dot(loss.mean, loss.low, loss.high)
