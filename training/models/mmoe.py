"""Multi-gate mixture of experts with one tower per task (Ma et al., KDD 2018, section 4). Knows nothing of what it is fed.

Shapes: N rows, X input width, E experts, H expert width, T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixtureOfExperts(nn.Module):
    """T logits from one input. LayerNorm and Swish keep experts alive: ReLU experts collapse (HoME, arXiv 2408.05430).

    LayerNorm stands where HoME has BatchNorm, because a score must not depend on who else is in the batch.
    """

    def __init__(
        self, width: int, n_tasks: int, *, n_experts: int = 4, hidden: int = 96, expert: int = 64, tower: int = 32
    ) -> None:
        super().__init__()
        self.n_tasks, self.n_experts = n_tasks, n_experts
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, hidden),
                nn.LayerNorm(hidden),
                nn.SiLU(),
                nn.Linear(hidden, expert),
                nn.LayerNorm(expert),
                nn.SiLU(),
            )
            for _ in range(n_experts)
        )
        self.gates = nn.Linear(width, n_tasks * n_experts)
        # One product per task: onnxruntime 1.31 divides by zero in a product batched over tasks when there are no rows.
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(expert, tower), nn.SiLU(), nn.Linear(tower, 1)) for _ in range(n_tasks)
        )
        self.bias_T = nn.Parameter(torch.zeros(n_tasks))

    def forward(self, input_NX: Tensor) -> Tensor:
        """Logits [N, T]."""
        expert_NEH = torch.stack([expert(input_NX) for expert in self.experts], dim=1)
        mixed_NTH = torch.bmm(self.gate_NTE(input_NX), expert_NEH)
        logits = [tower(mixed_NTH[:, task]) for task, tower in enumerate(self.towers)]
        return torch.cat(logits, dim=1) + self.bias_T

    def gate_NTE(self, input_NX: Tensor) -> Tensor:
        """How much each task listens to each expert, [N, T, E]; sums to 1 over experts."""
        return torch.softmax(self.gates(input_NX).reshape(-1, self.n_tasks, self.n_experts), dim=2)
