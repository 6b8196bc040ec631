"""A data set prepared for judging bundles: its log, contexts and labels, made once, and the rows of one bundle's test window.

Knows time: what a bundle may have learned from is no test of it. Knows nothing of measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bundles.manifest import Manifest
from features.counters import HOUR_MS
from features.embeddings import ItemEmbeddings
from features.item_table import ItemTable
from training.bundle_evaluation.opened import OpenedBundle
from training.contexts import ContextLog
from training.datasets import Dataset
from training.errors import EvaluationError
from training.event_log import EventLog
from training.impressions import Impressions, impressions_of
from training.log_positions import check_positions
from training.log_times import check_times, moment
from training.progress import Progress
from training.ranking_build import build_ranking_set
from training.ranking_set import RankingSet
from training.snapshots import ItemTables

DEFAULT_HOURS = 24.0


@dataclass(frozen=True)
class Window:
    """The requests of [start_ms, end_ms) are what bundles are judged on."""

    start_ms: int
    end_ms: int

    def check(self, manifest: Manifest) -> None:
        """Raises EvaluationError when the bundle was still learning when the window began.

        A model that is judged on what it has learned looks too good.
        """
        if self.start_ms < manifest.training_window_end_ms:
            left = (self.end_ms - manifest.training_window_end_ms) / HOUR_MS
            advice = (
                f"test the last {left:.0f} hours or fewer"
                if left >= 1
                else "bring a log that goes on after the training"
            )
            raise EvaluationError(
                f"bundle {manifest.version} learned from events until {moment(manifest.training_window_end_ms)}, but the "
                f"test window begins at {moment(self.start_ms)}; {advice}"
            )


@dataclass(frozen=True)
class WindowRows:
    """One bundle's view of a test window. `items` and `tables` number media as `rows` does.

    `neutral` and `frozen` are the impressions of `rows` at the place on the page that serving assumes: for NDCG, and for GAUC with
    the history that each user had when the window began. `neutral` is `rows` where the log knows no places.
    """

    rows: RankingSet
    neutral: RankingSet
    frozen: RankingSet
    items: ItemTable
    tables: ItemEmbeddings


class JudgedLog:
    """A validated data set. What does not depend on a bundle is computed once, on first use."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def log(self) -> EventLog:
        return EventLog.from_dataset(self.dataset)

    @cached_property
    def contexts(self) -> ContextLog:
        return ContextLog(self.log, self.dataset.users)

    @cached_property
    def shown(self) -> Impressions:
        """Labelled impressions of the whole log."""
        return impressions_of(self.log)

    def window(self, hours: float = DEFAULT_HOURS) -> Window:
        """The last hours of the log. Raises FitError, as training does, for times and positions that cannot be right."""
        check_times(self.log)
        check_positions(self.log)
        return Window(self.dataset.as_of_ms - round(hours * HOUR_MS), self.dataset.as_of_ms)

    def rows(self, opened: OpenedBundle, window: Window, progress: Progress | None = None) -> WindowRows:
        """The window's impressions with the features that the bundle's embeddings and surfaces give them.

        The rows and labels are the same for every bundle. Raises EvaluationError as `Window.check`, and without impressions.
        """
        window.check(opened.bundle.manifest)
        snapshots = ItemTables(self.log, self.dataset.media, opened.vectors(self.log), surfaces=opened.items.surfaces)
        items = snapshots.as_of(window.start_ms)  # of which only what never changes is read
        rows, frozen = (
            build_ranking_set(
                self.shown,
                self.contexts,
                snapshots,
                start_ms=window.start_ms,
                end_ms=window.end_ms,
                history_until_ms=until_ms,
                progress=report,
            )
            for until_ms, report in ((None, progress), (window.start_ms, None))
        )
        if len(rows) == 0:
            raise EvaluationError(
                f"data set {self.dataset.name!r} shows nothing between {moment(window.start_ms)} and "
                f"{moment(window.end_ms)}; test more hours"
            )
        neutral = rows.at_neutral_position() if self.log.has_positions() else rows
        return WindowRows(rows, neutral, frozen, items, opened.tables(items))
