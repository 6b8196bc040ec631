"""The light ranker of the rank stage: dense features only. Knows nothing of ids and sequences.

Shapes: N rows, F features, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from features.schema import Feature
from training.models.percentile_input import InputKind, dense_input


class LightRanker(nn.Module):
    """Shared-bottom multi-task network: one small MLP, one linear head per task."""

    def __init__(
        self,
        features: Sequence[Feature],
        n_tasks: int,
        hidden: Sequence[int] = (128, 64),
        input_kind: InputKind = "standard",
    ) -> None:
        super().__init__()
        self.dense = dense_input(input_kind, features)
        widths = [self.dense.width, *hidden]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.SiLU()]
        self.shared = nn.Sequential(*layers)
        self.heads = nn.Linear(widths[-1], n_tasks)

    def forward(self, dense_NF: Tensor) -> Tensor:
        """Logits [N, T] from raw features [N, F]."""
        return self.heads(self.shared(self.dense(dense_NF)))

    def start_at(self, logit_T: Tensor) -> None:
        """Sets the head biases, so that training starts from the base rates and not from one half."""
        self.heads.bias.data.copy_(logit_T)
