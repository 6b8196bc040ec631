"""One simulated log for all tests of this folder, and a village for those that need a world of their own."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pytest

from training.datasets import Dataset
from training.datasets.examples import impressions
from training.datasets.simulate import SimulationConfig, World, simulate, tiny


@dataclass(frozen=True)
class Log:
    """A data set, the world behind it, and its labelled impressions."""

    dataset: Dataset
    world: World
    frame: pl.DataFrame


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    root = tmp_path_factory.mktemp("simulated") / "tiny"
    dataset = simulate(tiny(), root)
    return Log(dataset, World.load(root), impressions(dataset.events))


@pytest.fixture
def village() -> SimulationConfig:
    return SimulationConfig(users=60, accounts=20, media=400, topics=5, days=3, seed=7)
