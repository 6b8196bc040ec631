"""The student of the prerank stage: a few features, a tiny network, one score whose order alone has a meaning.

Shapes: N rows, F features of the prerank stage.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from features.schema import Feature
from training.models.dense_input import DenseInput


class PrerankStudent(nn.Module):
    """MLP over the prerank features. It learns the funnel's order, so its score is neither a probability nor a value."""

    def __init__(self, features: Sequence[Feature], hidden: tuple[int, int] = (32, 16)) -> None:
        super().__init__()
        self.dense = DenseInput(features)
        self.network = nn.Sequential(
            nn.Linear(self.dense.width, hidden[0]),
            nn.SiLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.SiLU(),
            nn.Linear(hidden[1], 1),
        )

    def forward(self, dense_NF: Tensor) -> Tensor:
        """Scores [N] from raw prerank features [N, F]."""
        return self.network(self.dense(dense_NF)).squeeze(1)
