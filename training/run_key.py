"""The name of a training run: equal for runs that must give the same result, different otherwise. Knows inputs, not files.

In the name are the recipe with its seeds, the rows of the data set, the features, the code of training and features, the
libraries that compute, and what the caller adds. The number of threads is not: sums may differ in their last digits between
a run and its resumption with more of them, which is no reason to throw hours away.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import torch

import features
import training
from features.dense import FINGERPRINT
from training.datasets import Dataset
from training.recipes import Recipe
from training.stored_log import StoredLog

_DIGITS = 16


def run_key(recipe: Recipe, dataset: Dataset | StoredLog, *also: str) -> str:
    """The key, short enough for a directory. `also` is whatever else the result depends on."""
    parts = [
        json.dumps(asdict(recipe), sort_keys=True),
        dataset.name,
        str(dataset.as_of_ms),
        *(_rows_digest(frame) for frame in (dataset.users, dataset.media)),
        dataset.digest if isinstance(dataset, StoredLog) else _rows_digest(dataset.events),
        FINGERPRINT,
        code_digest(training, features),
        *(str(library.__version__) for library in (np, pl, torch)),
        *also,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGITS]


def code_digest(*packages: ModuleType) -> str:
    """A hash over the source files of packages: after a change of the code nothing that the old one left fits any more."""
    digest = hashlib.sha256()
    for package in packages:
        (root,) = map(Path, package.__path__)
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{package.__name__}/{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _rows_digest(frame: pl.DataFrame) -> str:
    """Of the rows in their order. The files' own bytes would change whenever the same data is written again."""
    schema = repr(frame.schema).encode()
    return hashlib.sha256(schema + frame.hash_rows(seed=0).to_numpy().tobytes()).hexdigest()
