"""Every model in a process of its own: so that its time and its peak memory are nobody else's.

Shapes: S seeds, N test impressions, T tasks.
"""

from __future__ import annotations

import multiprocessing
import pickle
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import models_baselines as own
from benchmarks import models_libraries as libraries
from benchmarks.models_rows import Rows

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A way to predict. `library` is the module that it needs beside the project."""

    name: str
    predict: Callable[[Rows, int], Float32]
    most_seeds: int = 100  # 1 where another seed gives the same answer, few where one takes minutes
    quick: bool = False  # whether it needs no other library and little time
    library: str | None = None

    def absent(self) -> bool:
        """Whether its library is not installed."""
        return self.library is not None and libraries.missing(self.library)


DEEP, TREES, TREES_WITH_IDS = "deep ranker", "LightGBM", "LightGBM with ids"
MODELS = (
    Model(DEEP, own.deep_ranker, quick=True),
    Model("popularity", own.popularity, most_seeds=1, quick=True),
    Model("logistic regression", own.logistic_regression, most_seeds=1, quick=True),
    Model("FM", own.factorisation_machine, most_seeds=3),
    Model(TREES, libraries.lightgbm_dense, library="lightgbm"),
    Model(TREES_WITH_IDS, libraries.lightgbm_with_ids, library="lightgbm"),
    Model("DeepFM", libraries.deep_fm, most_seeds=2, library="torch_rechub"),
)


@dataclass(frozen=True)
class Run:
    """What one model predicts for the test rows with each seed, and what that took: training and scoring, all tasks.

    `frozen_SNT` is of the same impressions with the histories of the window's start, for GAUC.
    """

    probability_SNT: Float32
    frozen_SNT: Float32
    seconds_S: tuple[float, ...]  # of CPU time: what else the machine does is no cost of the model
    start_mb: float  # libraries and rows, before training
    peak_mb: float


def runs(rows: Rows, models: Sequence[Model], seeds: int, scratch: Path) -> Iterator[tuple[str, Run]]:
    """One model after the other, on one thread."""
    file = scratch / "rows.pickle"
    with file.open("wb") as out:
        pickle.dump(rows, out, protocol=5)
    # Not forked: a child would count the parent's memory as its own.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as pool:
        for model in models:
            yield model.name, pool.submit(_run, model, file, min(seeds, model.most_seeds)).result()


def _run(model: Model, file: Path, seeds: int) -> Run:
    torch.set_num_threads(1)
    with file.open("rb") as source:
        rows = pickle.load(source)
    start_mb, seconds, found = _peak_mb(), [], []
    for seed in range(1, seeds + 1):
        started = time.process_time()
        found.append(model.predict(rows, seed))
        seconds.append(time.process_time() - started)
    probability_SNT, frozen_SNT = np.split(np.stack(found), [len(rows.test)], axis=1)
    return Run(probability_SNT, frozen_SNT, tuple(seconds), start_mb, _peak_mb())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
