"""What benchmarks/student.py judges students on: whole slates, and what the rankers, the simple orders and the truth say of them.

Shapes: N candidates of all slates, B slates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundles import layout
from cli.sourcing import open_sourcing
from training.checkpoints import KeepNothing
from training.datasets import Dataset
from training.datasets.simulate import World
from training.distillation import popularity_scores, teacher_scores
from training.pipeline import HELD_OUT_EVERY, Run
from training.preparation import Preparation
from training.progress import Steps
from training.recipes import Recipe
from training.slate_sourcing import sample_of_users
from training.slates import Slates

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Slates of one training run, and the values of their candidates, [N] each."""

    slates: Slates
    deep_N: Float32
    light_N: Float32
    true_N: Float32 | None  # by the synthetic world, if it is one

    @property
    def popularity_N(self) -> Float32:
        """Clicks so far."""
        return popularity_scores(self.slates)

    @property
    def retrieval_N(self) -> Float32:
        """The order in which retrieval delivers."""
        return (self.slates.offsets[self.slates.request_N] - np.arange(len(self.deep_N))).astype(np.float32)

    def halves(self) -> tuple[Judged, Judged]:
        """To teach with and to measure with, as the pipeline splits them."""
        measured_B = np.arange(len(self.slates)) % HELD_OUT_EVERY == 0
        return self._select(~measured_B), self._select(measured_B)

    def _select(self, keep_B: NDArray[np.bool_]) -> Judged:
        keep_N = keep_B[self.slates.request_N]
        true_N = None if self.true_N is None else self.true_N[keep_N]
        return Judged(self.slates.select(keep_B), self.deep_N[keep_N], self.light_N[keep_N], true_N)


def make_slates(recipe: Recipe, dataset: Dataset, world: World | None, scratch: Path, steps: Steps) -> Judged:
    """Trains everything before the student as `pipeline.train` would, and fetches the candidates of its sample of users."""
    prepared = Preparation(recipe, dataset, steps, KeepNothing())
    tables = prepared.item_tables(prepared.vectors())
    sets, run = prepared.ranking_sets(tables), Run(prepared)
    items = tables.as_of(dataset.as_of_ms)
    scratch.mkdir(parents=True)
    items.save(scratch / layout.ITEMS)
    run.sourcing_files(items, scratch)
    deep, light = run.rankers(sets, items)
    slates, weights = run.slates(items, open_sourcing(scratch)), recipe.value_weights["default"]
    with steps.step("values of the candidates"):
        deep_N, light_N = teacher_scores(deep, slates, weights), teacher_scores(light, slates, weights)
        true_N = None
        if world is not None:
            user_B = sample_of_users(prepared.log, recipe.n_slates, recipe.student.fit.seed)
            users = [prepared.log.user_ids[user] for user in user_B[slates.request_N]]
            truth = world.action_probabilities(users, items.media_id_M[slates.row_N], dataset.as_of_ms)
            value_N = sum((weight * truth[task] for task, weight in weights.items()), np.zeros(len(users)))
            true_N = value_N.astype(np.float32)
    return Judged(slates, deep_N, light_N, true_N)
