"""Raw dense features to network input by percentile bins, as Twitter's timelines did it; and the choice between the two inputs.

Knows no feature by name.
Shapes: N rows, F features, X columns of which the features are some, K edges between bins, E width of a bin's embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.schema import Feature
from training.models.dense_input import DenseInput, evenly_spaced

InputKind = Literal["standard", "percentile"]

BINS = 32
_WIDTH = 4


class PercentileInput(nn.Module):
    """[N, F] raw features to [N, F * E]: every feature gives the embedding of the bin that its value falls into.

    Bins hold equally many training values, equal values share a bin, and a missing value has a bin of its own (algorithms.md,
    section 4: missing is not 0). A bin is open below and closed above, the outer ones have no end. Embeddings start at 0, so
    bins that training never met stay silent.
    """

    edge_FK: Tensor
    first_F: Tensor

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        n_features = len(features)
        self.width = n_features * _WIDTH
        self.register_buffer("edge_FK", torch.full((n_features, BINS - 1), float("inf")))
        self.register_buffer("first_F", torch.arange(n_features) * (BINS + 1))
        self.embedding = nn.Embedding(n_features * (BINS + 1), _WIDTH)
        nn.init.zeros_(self.embedding.weight)

    def fit(self, dense_NX: NDArray[np.float32], column_F: Sequence[int] | None = None) -> None:
        """Takes the edges of F of the columns of training rows, all if not said; unused edges are infinite.

        Values that are not finite are not counted.
        """
        column_F = range(dense_NX.shape[1]) if column_F is None else column_F
        sample_NF = evenly_spaced(dense_NX, column_F)
        self.edge_FK.fill_(float("inf"))
        for feature, value_N in enumerate(sample_NF.T):
            edge_K = _edges(value_N[np.isfinite(value_N)])
            self.edge_FK[feature, : len(edge_K)] = torch.from_numpy(edge_K)

    def bins(self, dense_NF: Tensor) -> Tensor:
        """Number of the bin of every value, [N, F]: 0 is missing, 1 the lowest."""
        above_NF = (dense_NF.unsqueeze(2) > self.edge_FK).sum(dim=2)
        return torch.where(torch.isnan(dense_NF), 0, above_NF + 1)

    def forward(self, dense_NF: Tensor) -> Tensor:
        """Network input [N, F * E]; finite for every input, NaN and infinities included."""
        return self.embedding(self.bins(dense_NF) + self.first_F).flatten(start_dim=1)


def dense_input(kind: InputKind, features: Sequence[Feature]) -> DenseInput | PercentileInput:
    """The input layer of that name."""
    return PercentileInput(features) if kind == "percentile" else DenseInput(features)


def _edges(value_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most BINS - 1 values below the largest, each the upper end of a bin: bins differ by one value at most, ties apart."""
    if len(value_N) == 0:
        return value_N
    sorted_N = np.sort(value_N)
    last_K = np.arange(1, BINS) * len(sorted_N) // BINS - 1
    edge_K = np.unique(sorted_N[last_K[last_K >= 0]])
    return edge_K[edge_K < sorted_N[-1]]
