"""Other people's models behind the same signature as ours: LightGBM, and DeepFM of torch-rechub.

The libraries are imported when they are called: they are no dependency of this project.

Shapes: N impressions that are asked about, B of a batch, T tasks, X network inputs, C categorical fields.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.models_baselines import best_of_epochs
from benchmarks.models_rows import ID_NAMES, Rows

Float32 = NDArray[np.float32]

HINTS = {
    "lightgbm": "pip install lightgbm",
    "torch_rechub": "pip install --no-deps torch-rechub, and scikit-learn, pandas, tqdm",
}
_TREES = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "cat_smooth": 50.0,
    "num_threads": 1,
    "verbose": -1,
}
_MOST_TREES, _PATIENCE = 1000, 50
_WIDTH = 16  # of an embedding


def missing(module: str) -> bool:
    """Whether the library cannot be imported."""
    try:
        import_module(module)
    except ImportError:
        return True
    return False


def lightgbm_dense(rows: Rows, seed: int) -> Float32:
    """On the raw dense features."""
    return boosted(rows.inputs(rows.dense), [], rows, seed)


def lightgbm_with_ids(rows: Rows, seed: int) -> Float32:
    """On the raw dense features and the ids as categories."""
    inputs = rows.inputs(lambda s: np.concatenate([rows.dense(s), rows.ids(s).astype(np.float32)], axis=1))
    width = inputs[0].shape[1]
    return boosted(inputs, list(range(width - len(ID_NAMES), width)), rows, seed)


def boosted(inputs: list[Float32], categories: list[int], rows: Rows, seed: int) -> Float32:
    """One booster per task, stopped on validation rows. `inputs` are those of train, valid and what is asked."""
    lightgbm = import_module("lightgbm")
    labels, found = [rows.labels(split) for split in (rows.train, rows.valid)], []
    for task in range(len(rows.tasks)):
        train = lightgbm.Dataset(inputs[0], labels[0][:, task], categorical_feature=categories)
        booster = lightgbm.train(
            {**_TREES, "seed": seed},
            train,
            _MOST_TREES,
            valid_sets=[lightgbm.Dataset(inputs[1], labels[1][:, task], reference=train)],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        found.append(booster.predict(inputs[2], num_iteration=booster.best_iteration))
    return np.stack(found, axis=1).astype(np.float32)


class _DeepFm(nn.Module):
    """torch-rechub's model as logits of tensors: it takes a dictionary and answers with a probability."""

    def __init__(self, sizes: tuple[int, ...], dense_width: int) -> None:
        super().__init__()
        made: Any = import_module("torch_rechub.basic.features")
        self.names = [f"field_{column}" for column in range(len(sizes))]
        fields = [made.SparseFeature(name, size, _WIDTH) for name, size in zip(self.names, sizes, strict=True)]
        deep = [*fields[: len(ID_NAMES)], made.DenseFeature("dense", dense_width)]
        layers = {"dims": [128, 64], "dropout": 0.2, "activation": "relu"}
        self.model = import_module("torch_rechub.models.ranking").DeepFM(deep, fields, layers)

    def forward(self, field_BC: Tensor, dense_BX: Tensor) -> Tensor:
        """Logits [B, 1]."""
        columns = {name: field_BC[:, column] for column, name in enumerate(self.names)}
        return torch.logit(self.model({**columns, "dense": dense_BX}), eps=1e-7).unsqueeze(1)


def deep_fm(rows: Rows, seed: int) -> Float32:
    """DeepFM: ids and binned dense features in its factorisation machine, ids and standardised features in its network."""
    fields, standards = rows.inputs(rows.fields), rows.inputs(rows.standard)
    inputs = [tuple(map(torch.from_numpy, parts)) for parts in zip(fields, standards, strict=True)]
    labels, found = (rows.labels(rows.train), rows.labels(rows.valid)), []
    for task in range(len(rows.tasks)):
        torch.manual_seed(seed)
        model = _DeepFm(rows.field_sizes, inputs[0][1].shape[1])
        of_task = labels[0][:, task : task + 1], labels[1][:, task : task + 1]
        found.append(best_of_epochs(model, inputs, of_task, learning_rate=2e-3, seed=seed))
    return np.concatenate(found, axis=1)
