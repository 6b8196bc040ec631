"""Multi-gate mixture of experts with one tower per task (Ma et al., KDD 2018, section 4). Knows nothing of what it is fed.

Shapes: N rows, X input width, E experts, H expert width, T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.experts import Expert, Towers


class MixtureOfExperts(nn.Module):
    """T logits from one input: every task listens to all experts, each with weights of its own."""

    def __init__(
        self, width: int, n_tasks: int, *, n_experts: int = 4, hidden: int = 96, expert: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.n_tasks, self.n_experts = n_tasks, n_experts
        self.experts = nn.ModuleList(Expert(width, hidden, expert, dropout) for _ in range(n_experts))
        self.gates = nn.Linear(width, n_tasks * n_experts)
        self.towers = Towers(expert, n_tasks, hidden=expert // 2)

    def forward(self, input_NX: Tensor) -> Tensor:
        """Logits [N, T]."""
        expert_NEH = torch.stack([expert(input_NX) for expert in self.experts], dim=1)
        mixed_NTH = torch.bmm(self.gate_NTE(input_NX), expert_NEH)
        logit_NT: Tensor = self.towers(mixed_NTH.unbind(dim=1))
        return logit_NT

    def gate_NTE(self, input_NX: Tensor) -> Tensor:
        """How much each task listens to each expert, [N, T, E]; sums to 1 over experts."""
        return torch.softmax(self.gates(input_NX).reshape(-1, self.n_tasks, self.n_experts), dim=2)
