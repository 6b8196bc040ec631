"""When two runs are the same: not by the names of things, but by everything that the result depends on."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import polars as pl
import pytest

import features
import training
from tests.training.logs import planted
from training.datasets import Dataset
from training.recipes import RECIPES
from training.run_key import code_digest, run_key

RECIPE = RECIPES["tiny"]()


@pytest.fixture(name="world", scope="module")
def _world() -> Dataset:
    return planted()


def test_the_same_inputs_give_the_same_key(world: Dataset) -> None:
    key = run_key(RECIPE, world, "query")
    assert key == run_key(RECIPES["tiny"](), planted(), "query")
    assert len(key) == 16
    assert key.isalnum()


def test_every_input_is_in_the_key(world: Dataset) -> None:
    media, events = world.media, world.events
    other_data = [
        replace(world, name="another"),
        replace(world, as_of_ms=world.as_of_ms + 1),
        replace(world, events=events[:-1]),
        replace(world, events=events.reverse()),
        replace(world, media=media.with_columns(pl.col("topic").fill_null("x").replace("topic1", "topic2"))),
        replace(world, users=world.users.with_columns(segment=pl.lit("new"))),
    ]
    keys = [
        run_key(RECIPE, world),
        run_key(RECIPE, world, "query"),
        run_key(RECIPE.seeded(4), world),
        run_key(replace(RECIPE, n_slates=151), world),
        run_key(RECIPES["default"](), world),
        *(run_key(RECIPE, data) for data in other_data),
    ]
    assert len(set(keys)) == len(keys)


def test_code_of_different_packages_differs() -> None:
    packages: list[tuple[ModuleType, ...]] = [(training,), (features,), (training, features)]
    assert len({code_digest(*some) for some in packages}) == 3
    assert code_digest(training) == code_digest(training)
