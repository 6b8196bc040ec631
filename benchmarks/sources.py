"""The log that a benchmark trains on, and the recipe that suits it: KuaiRand's days before 5 May 2022, or a simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.kuairand import TEST_END, slice_recipe, until
from training.datasets import Dataset, simulate
from training.datasets.kuairand import import_kuairand
from training.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Source:
    """`world` is the ground truth of a simulated log."""

    dataset: Dataset
    recipe: Recipe
    world: simulate.World | None = None


def open_source(directory: Path | None, quick: bool, seed: int, scratch: Path) -> Source:
    """KuaiRand-Pure's own CSV files in `directory`, or else the world `seed`, tiny if `quick`. Writes into `scratch`."""
    if directory is not None:
        dataset = until(import_kuairand(directory, scratch), TEST_END)
        return Source(dataset, slice_recipe(dataset).seeded(seed))
    dataset = simulate.simulate(simulate.tiny(seed) if quick else simulate.default(seed), scratch)
    recipe = RECIPES["tiny" if quick else "default"]()
    return Source(dataset, recipe.seeded(seed), simulate.World.load(scratch))
