"""An embedding table that only pays for the rows of a batch, however many rows it has.

Knows rows and gradients; knows nothing of what a row stands for. (torch's sparse Adagrad does the same, but slower.)

Shapes: R rows, D dimensions, X distinct rows of a batch, P places of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_SMALLEST_STEP_STATE = 1e-10


class DistinctRows:
    """`torch.unique` for rows below R, by marking instead of sorting: several times faster for the rows of a batch."""

    def __init__(self, n_rows: int) -> None:
        self._marked_R = torch.zeros(n_rows, dtype=torch.bool)
        self._place_R = torch.zeros(n_rows, dtype=torch.int64)

    def of(self, row_P: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct rows [X] in ascending order, and where each of `row_P` is among them [P]."""
        self._marked_R[row_P] = True
        row_X = self._marked_R.nonzero().squeeze(1)
        self._marked_R[row_X] = False
        self._place_R[row_X] = torch.arange(len(row_X))
        return row_X, self._place_R[row_P]


class EmbeddingTable:
    """R rows trained by row-wise Adagrad: one step size per row, which shrinks with the gradients the row has seen.

    (Duchi et al., 2011; per row as in Gupta et al., "Training Recommender Systems at Scale", 2020.)
    """

    def __init__(self, start_RD: Tensor, learning_rate: float) -> None:
        self.value_RD = start_RD
        self._squares_R = torch.zeros(len(start_RD))
        self._rows = DistinctRows(len(start_RD))
        self._learning_rate = learning_rate
        self._used: list[tuple[Tensor, Tensor]] = []

    @property
    def moved_R(self) -> Tensor:
        """Whether a gradient has moved the row from its start."""
        return self._squares_R > 0

    def state(self, name: str) -> dict[str, NDArray[Any]]:
        """What the next step depends on, under names that begin with `name`."""
        return {f"{name}.value_RD": self.value_RD.numpy(), f"{name}.squares_R": self._squares_R.numpy()}

    def restore(self, name: str, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes the table back to where it gave `state(name)`."""
        self.value_RD.copy_(torch.from_numpy(state[f"{name}.value_RD"]))
        self._squares_R.copy_(torch.from_numpy(state[f"{name}.squares_R"]))

    def look_up(self, row_P: Tensor) -> Tensor:
        """The vectors [P, D] of the rows; gradients flow back to the table at the next `step`."""
        row_X, place_P = self._rows.of(row_P)
        vector_XD = self.value_RD[row_X].requires_grad_()
        self._used.append((row_X, vector_XD))
        return F.embedding(place_P, vector_XD)

    def step(self) -> None:
        """Applies the gradients of all look-ups since the last step."""
        for row_X, vector_XD in self._used:
            if vector_XD.grad is not None:
                gradient_XD = vector_XD.grad
                self._squares_R[row_X] += gradient_XD.square().mean(dim=1)
                size_X = self._learning_rate / (self._squares_R[row_X] + _SMALLEST_STEP_STATE).sqrt()
                self.value_RD[row_X] -= size_X[:, None] * gradient_XD
        self._used.clear()
