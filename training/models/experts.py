"""What the mixtures have in common: one expert, one tower per task. Knows nothing of gates.

Shapes: N rows, X input width, H expert width, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Expert(nn.Sequential):
    """Two layers, [N, X] to [N, H]. Normalisation and Swish keep experts alive: ReLU experts collapse (HoME, arXiv 2408.05430).

    LayerNorm stands where HoME has BatchNorm, because a score must not depend on who else is in the batch.
    """

    def __init__(self, width: int, hidden: int, output: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(width, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, output),
            nn.LayerNorm(output),
            nn.SiLU(),
        )


class Towers(nn.Module):
    """One logit per task from that task's own mixture of experts."""

    def __init__(self, width: int, n_tasks: int, hidden: int) -> None:
        super().__init__()
        # One product per task: onnxruntime 1.31 divides by zero in a product batched over tasks when there are no rows.
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, 1)) for _ in range(n_tasks)
        )
        self.bias_T = nn.Parameter(torch.zeros(n_tasks))

    def forward(self, mixed: Sequence[Tensor]) -> Tensor:
        """Logits [N, T] from T inputs [N, H]."""
        logits = [tower(mixed_NH) for tower, mixed_NH in zip(self.towers, mixed, strict=True)]
        return torch.cat(logits, dim=1) + self.bias_T
