"""The rows of benchmarks/models.py: what our rankers train, stop and are tested on, and the same rows as other models take them.

Shapes: N impressions, T tasks, F dense features of the rank stage, X network inputs, C categorical fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from features.dense import FEATURES
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from training.checkpoints import KeepNothing
from training.datasets import Dataset
from training.models.candidate_rows import stage_columns
from training.models.dense_input import DenseInput
from training.preparation import Preparation
from training.progress import Steps
from training.rankers import RerankConfig, kept_tasks
from training.ranking_set import RankingSet
from training.recipes import Recipe

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Array = TypeVar("Array", Float32, Int64)

TASKS_TO_LEAD = ("click", "long_view")  # where the deep ranker must be ahead
DENSE = of_stage(FEATURES, Stage.RANK)
ID_NAMES = ("media", "author", "topic")
_BINS = 20  # of one dense feature, by mass


@dataclass(frozen=True)
class Rows:
    """One log cut by time. `rerank` is the deep ranker's configuration of the recipe that made the rows.

    `frozen`, where GAUC is asked for, are the impressions of `test`, each user with the history of the window's start.
    """

    train: RankingSet
    valid: RankingSet
    test: RankingSet
    items: ItemTable
    rerank: RerankConfig
    frozen: RankingSet | None = None

    @property
    def splits(self) -> tuple[RankingSet, RankingSet, RankingSet]:
        """Train, valid, test."""
        return self.train, self.valid, self.test

    def asked(self, of: Callable[[RankingSet], Array]) -> Array:
        """What `of` says of the test impressions, [N, ...]; and below it, where there are `frozen` ones, of these, [2N, ...]."""
        if self.frozen is None:
            return of(self.test)
        return np.concatenate([of(self.test), of(self.frozen)])

    def inputs(self, of: Callable[[RankingSet], Array]) -> list[Array]:
        """What `of` says of train, valid and all that is `asked`."""
        return [of(self.train), of(self.valid), self.asked(of)]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that our rankers learn here; every model gets the same."""
        return kept_tasks(self.train, self.rerank.min_positives, self.rerank.tasks)

    def labels(self, split: RankingSet) -> Float32:
        """Labels [N, T] of `tasks`."""
        label_NT: Float32 = split.label_NT[:, [split.tasks.index(task) for task in self.tasks]]
        return label_NT

    @staticmethod
    def dense(split: RankingSet) -> Float32:
        """Raw features [N, F], NaN = missing: the input of the light ranker, and the dense input of the deep one."""
        dense_NF: Float32 = split.dense_NF[:, stage_columns(Stage.RANK)]
        return dense_NF

    def standard(self, split: RankingSet) -> Float32:
        """The features [N, X] as our networks see them: transformed, standardised, with presence bits."""
        with torch.no_grad():
            standard_NX: Float32 = self._dense_input(torch.from_numpy(self.dense(split))).numpy()
        return standard_NX

    def ids(self, split: RankingSet) -> Int64:
        """Slots [N, C] of media, author and topic. 0 stands for all ids that the deep ranker would not admit either."""
        return np.stack(
            [table_I[id_N] for table_I, id_N in zip(self._slots, self._raw_ids(split), strict=True)], axis=1
        )

    def fields(self, split: RankingSet) -> Int64:
        """Slots [N, C] of the ids and of every dense feature cut into bins, where 0 is missing."""
        dense_NF = self.dense(split)
        bins = [
            np.where(np.isnan(column_N), 0, 1 + np.searchsorted(edge_E, column_N))
            for column_N, edge_E in zip(dense_NF.T, self._edges, strict=True)
        ]
        return np.concatenate([self.ids(split), np.stack(bins, axis=1)], axis=1)

    @property
    def id_sizes(self) -> tuple[int, ...]:
        """Slots of each column of `ids`."""
        return tuple(int(table_I.max()) + 1 for table_I in self._slots)

    @property
    def field_sizes(self) -> tuple[int, ...]:
        """Slots of each column of `fields`."""
        return (*self.id_sizes, *(len(edge_E) + 2 for edge_E in self._edges))

    @cached_property
    def _dense_input(self) -> DenseInput:
        found = DenseInput(DENSE)
        found.fit(self.dense(self.train))
        return found

    @cached_property
    def _edges(self) -> list[NDArray[Any]]:
        """Bounds between the bins of each dense feature. Few distinct values make fewer bins."""
        shares = np.linspace(0, 1, _BINS + 1)[1:-1]
        columns = (column_N[~np.isnan(column_N)] for column_N in self.dense(self.train).T)
        return [np.unique(np.quantile(known, shares)) if len(known) else np.zeros(0) for known in columns]

    @cached_property
    def _slots(self) -> list[Int64]:
        """Slot of every media item, author and topic; the last entry is what -1 reads."""
        sizes = (len(self.items.media_id_M), len(self.items.account_id_U), len(self.items.topics))
        made = []
        for id_N, size in zip(self._raw_ids(self.train), sizes, strict=True):
            admitted_I = np.bincount(id_N[id_N >= 0], minlength=size) >= self.rerank.embeddings.min_occurrences
            made.append(np.append(np.where(admitted_I, np.cumsum(admitted_I), 0), 0))
        return made

    def _raw_ids(self, split: RankingSet) -> tuple[Int64, Int64, Int64]:
        authors, topics = self.items.author_row_M, self.items.topic_M
        return split.row_N, authors[split.row_N].astype(np.int64), topics[split.row_N].astype(np.int64)


def make_rows(recipe: Recipe, dataset: Dataset, steps: Steps, *, with_frozen: bool = False) -> Rows:
    """The examples that `pipeline.train` would make of this recipe and log, with the item table of the end of the log."""
    prepared = Preparation(recipe, dataset, steps, KeepNothing())
    tables = prepared.item_tables(prepared.vectors())
    sets = prepared.ranking_sets(tables)
    frozen = sets.frozen if with_frozen else None
    return Rows(sets.train, sets.valid, sets.test, tables.as_of(dataset.as_of_ms), recipe.rerank, frozen)
