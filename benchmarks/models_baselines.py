"""Models to compare our rankers with that need no other library: popularity, logistic regression, factorisation machine.

Each is a function of rows and seed to probabilities of what the rows ask about (`Rows.asked`).

Shapes: N impressions that are asked about, B of a batch, T tasks, X network inputs, C categorical fields, K factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.models_rows import DENSE, Rows
from training.models.regression import LogisticRegression
from training.rankers import train_rerank

Float32 = NDArray[np.float32]

# What the item has had per impression so far, smoothed. Rare actions share one rate.
_RATE = {
    "click": "item_click_rate",
    "long_view": "item_long_view_rate",
    "like": "item_like_rate",
    "negative": "item_negative_rate",
}
_OTHER_RATE = "item_deep_rate"
_FACTORS = 16
_BATCH, _EPOCHS = 2048, 12
_SCORED = 8192  # rows that are scored at once
_PATIENCE = 2  # epochs without progress before a task stops for good


def deep_ranker(rows: Rows, seed: int) -> Float32:
    """Ours, as the recipe has it."""
    config = replace(rows.rerank, fit=replace(rows.rerank.fit, seed=seed))
    return rows.asked(train_rerank(config, rows.train, rows.valid, rows.items).probabilities)


def popularity(rows: Rows, seed: int) -> Float32:
    """The rate of the item at the time of the request."""
    names, dense_NF = [feature.name for feature in DENSE], rows.asked(rows.dense)
    return np.nan_to_num(dense_NF[:, [names.index(_RATE.get(task, _OTHER_RATE)) for task in rows.tasks]])


def logistic_regression(rows: Rows, seed: int) -> Float32:
    """On the inputs of our networks. The losses of the tasks do not meet, so one fit is one regression per task."""
    input_NX, label_NT = (torch.from_numpy(found) for found in (rows.standard(rows.train), rows.labels(rows.train)))
    model = LogisticRegression(input_NX.shape[1], label_NT.shape[1])
    model.fit(input_NX, label_NT)
    with torch.inference_mode():
        found_NT: Float32 = torch.sigmoid(model(torch.from_numpy(rows.asked(rows.standard)))).numpy()
    return found_NT


class FactorisationMachine(nn.Module):
    """One machine per task (Rendle, ICDM 2010, eq. 5), all of them in one table: they share the look-up and nothing else."""

    def __init__(self, sizes: Sequence[int], tasks: int, factors: int = _FACTORS) -> None:
        super().__init__()
        self.register_buffer("start_C", torch.tensor(np.cumsum([0, *sizes[:-1]])))
        self.tasks = tasks
        self.factor = nn.Embedding(sum(sizes), tasks * factors)
        self.weight = nn.Embedding(sum(sizes), tasks)
        self.bias_T = nn.Parameter(torch.zeros(tasks))
        nn.init.normal_(self.factor.weight, std=0.01)
        nn.init.zeros_(self.weight.weight)

    start_C: Tensor

    def forward(self, field_BC: Tensor) -> Tensor:
        """Logits [B, T]."""
        slot_BC = field_BC + self.start_C
        factor_BCK = self.factor(slot_BC)
        # Sum over pairs of fields: half of (square of the sum minus sum of the squares).
        pairs_BK = (factor_BCK.sum(dim=1).square() - factor_BCK.square().sum(dim=1)) / 2
        pairs_BT = pairs_BK.reshape(len(field_BC), self.tasks, -1).sum(dim=2)
        return self.weight(slot_BC).sum(dim=1) + pairs_BT + self.bias_T


def factorisation_machine(rows: Rows, seed: int) -> Float32:
    """On ids and binned dense features; each task keeps the epoch that is best for it on validation rows."""
    torch.manual_seed(seed)
    model = FactorisationMachine(rows.field_sizes, len(rows.tasks))
    inputs = [(torch.from_numpy(field_NC),) for field_NC in rows.inputs(rows.fields)]
    labels = rows.labels(rows.train), rows.labels(rows.valid)
    return best_of_epochs(model, inputs, labels, learning_rate=2e-3, seed=seed)


def best_of_epochs(
    model: nn.Module,
    inputs: Sequence[tuple[Tensor, ...]],
    labels: tuple[Float32, Float32],
    *,
    learning_rate: float,
    seed: int,
    weight_decay: float = 1e-5,
) -> Float32:
    """Trains a network of logits [B, T] with Adam; probabilities [N, T] of what is asked, of each task's best epoch on valid.

    `inputs` are those of train, valid and what is asked, `labels` those of train and valid. Tasks may share an epoch but not a
    choice, as those of models that are trained one by one.
    """
    label_NT, valid_NT = torch.from_numpy(labels[0]), torch.from_numpy(labels[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    best_T, stale_T = torch.full((label_NT.shape[1],), torch.inf), torch.zeros(label_NT.shape[1])
    found_NT = torch.zeros((len(inputs[2][0]), label_NT.shape[1]))
    for order_N in _orders(len(label_NT), seed):
        model.train()
        for batch_B in torch.split(order_N, _BATCH):
            optimiser.zero_grad()
            logit_BT = model(*(part[batch_B] for part in inputs[0]))
            _loss_T(logit_BT, label_NT[batch_B]).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        loss_T = _loss_T(_scored(model, inputs[1]), valid_NT)
        better_T = loss_T < best_T
        if better_T.any():
            found_NT[:, better_T] = torch.sigmoid(_scored(model, inputs[2]))[:, better_T]
        best_T, stale_T = torch.minimum(best_T, loss_T), torch.where(better_T, 0, stale_T + 1)
        if bool((stale_T >= _PATIENCE).all()):
            break
    return found_NT.numpy()


def _orders(rows: int, seed: int) -> Iterator[Tensor]:
    random = torch.Generator().manual_seed(seed)
    for _ in range(_EPOCHS):
        yield torch.randperm(rows, generator=random)


def _scored(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat(
            [model(*parts) for parts in zip(*(torch.split(part, _SCORED) for part in inputs), strict=True)]
        )


def _loss_T(logit_NT: Tensor, label_NT: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logit_NT, label_NT, reduction="none").mean(dim=0)
