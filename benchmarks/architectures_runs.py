"""The choices of benchmarks/architectures.py as configurations, and their fits: each on one thread, kept in a folder.

Shapes: N impressions, T tasks.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models_libraries import lightgbm_dense
from benchmarks.models_rows import Rows
from training.models.architecture import Architecture
from training.rankers import RerankConfig, train_rerank

Float32 = NDArray[np.float32]

TREES = "LightGBM"


class Key(NamedTuple):
    """One fit."""

    name: str
    seed: int


@dataclass(frozen=True)
class Fit:
    """What one fit predicts, and the CPU seconds to train and score."""

    probability_NT: Float32
    valid_NT: Float32  # logits, as these rows have calibrated the probabilities
    seconds: float


def choices(recipe: RerankConfig) -> dict[str, RerankConfig]:
    """Everything that is compared: the plain ranker, one change of it at a time, some together, and the recipe's own choice."""
    plain = _plain(recipe)
    small = _fit(plain, batch_rows=512, learning_rate=2e-3)
    return {
        "plain": plain,
        "trained unknown": replace(plain, embeddings=replace(plain.embeddings, trained_unknown=True)),
        "ple": _built(plain, mixture="ple"),
        "dcn": _built(plain, crosses="dcn"),
        "masknet": _built(plain, crosses="masknet"),
        "wide": _built(plain, wide=True),
        "percentile input": replace(plain, input="percentile"),
        "batch 512": small,
        "batch 512, dropout .2": _built(small, dropout=0.2),
        "ple, dcn": _built(plain, mixture="ple", crosses="dcn"),
        "masknet, batch 512": _built(small, crosses="masknet"),
        "recipe": recipe,
    }


def quick_choices(recipe: RerankConfig) -> dict[str, RerankConfig]:
    """Every block once, in few fits."""
    plain = _plain(recipe)
    return {
        "plain": plain,
        "ple, dcn, wide": _built(plain, mixture="ple", crosses="dcn", wide=True),
        "masknet": _built(plain, crosses="masknet"),
        "recipe": recipe,
    }


def _plain(recipe: RerankConfig) -> RerankConfig:
    """The ranker that was the default before there was a choice."""
    embeddings = replace(recipe.embeddings, trained_unknown=False)
    plain = replace(recipe, embeddings=embeddings, architecture=Architecture(mixture="mmoe"), input="standard")
    return _fit(plain, epochs=2, batch_rows=2048, learning_rate=5e-3, weight_decay=1e-4)


def _built(config: RerankConfig, **fields: Any) -> RerankConfig:
    return replace(config, architecture=replace(config.architecture, **fields))


def _fit(config: RerankConfig, **fields: Any) -> RerankConfig:
    return replace(config, fit=replace(config.fit, **fields))


def fits(
    keys: Sequence[Key], configs: Mapping[str, RerankConfig], folder: Path, processes: int
) -> Iterator[tuple[Key, Fit]]:
    """Fits in the order in which they are done. What `folder` holds is not made again, nor what equal configurations ask for."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=fresh) as pool:
        files: dict[Path, list[Key]] = {}
        for key in keys:
            files.setdefault(_file(key, configs.get(key.name), folder), []).append(key)
        running = {pool.submit(_run, of_file[0], configs, file): file for file, of_file in files.items()}
        for done in as_completed(running):
            fit = done.result()
            for key in files[running[done]]:
                yield key, fit


def _file(key: Key, config: RerankConfig | None, folder: Path) -> Path:
    made_of = f"{config or key.name} {key.seed}"
    return folder / f"fit-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.npz"


def _run(key: Key, configs: Mapping[str, RerankConfig], file: Path) -> Fit:
    torch.set_num_threads(1)
    if not file.exists():
        rows = _rows(file.parent / "rows.pickle")
        fit = _trees(rows, key.seed) if key.name == TREES else _network(configs[key.name], rows, key.seed)
        part = file.with_name(file.stem + ".part.npz")  # a name that a killed run may leave behind
        np.savez(part, **vars(fit))
        part.replace(file)
    with np.load(file, allow_pickle=False) as kept:
        return Fit(kept["probability_NT"], kept["valid_NT"], float(kept["seconds"]))


def _network(config: RerankConfig, rows: Rows, seed: int) -> Fit:
    started = time.process_time()
    config = replace(config, fit=replace(config.fit, seed=seed))
    trained = train_rerank(config, rows.train, rows.valid, rows.items)
    probability_NT = trained.probabilities(rows.test)
    seconds = time.process_time() - started
    return Fit(probability_NT, trained.logits(rows.valid), seconds)


def _trees(rows: Rows, seed: int) -> Fit:
    started = time.process_time()
    probability_NT = lightgbm_dense(rows, seed)
    nothing_NT = np.zeros(
        (0, probability_NT.shape[1]), dtype=np.float32
    )  # they stop on these rows: no figure worth showing
    return Fit(probability_NT, nothing_NT, time.process_time() - started)


_CACHE: dict[Path, Rows] = {}  # of a worker process: all its fits are on the same rows


def _rows(file: Path) -> Rows:
    if file not in _CACHE:
        with file.open("rb") as source:
            _CACHE[file] = pickle.load(source)
    return _CACHE[file]
