"""Progressive layered extraction: experts that all tasks share beside experts of one task (Tang et al., RecSys 2020, section 4).

Knows nothing of what it is fed.
Shapes: N rows, X input width, E experts that one gate sees, H expert width, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.models.experts import Expert, Towers


class Extraction(nn.Module):
    """One level, "customised gate control": a task's gate sees its own experts and the shared ones, nothing of other tasks.

    Streams are one per task and, last, the shared one. `hands_on` makes the shared stream too, whose gate sees every expert;
    the last level needs none.
    """

    def __init__(
        self,
        width: int,
        n_tasks: int,
        *,
        own: int,
        shared: int,
        hidden: int,
        expert: int,
        dropout: float,
        hands_on: bool,
    ) -> None:
        super().__init__()
        self.n_tasks, self.hands_on = n_tasks, hands_on
        self.groups = nn.ModuleList(
            nn.ModuleList(Expert(width, hidden, expert, dropout) for _ in range(count))
            for count in (*[own] * n_tasks, shared)
        )
        self.gates = nn.ModuleList(nn.Linear(width, own + shared) for _ in range(n_tasks))
        if hands_on:
            self.gates.append(nn.Linear(width, n_tasks * own + shared))

    def forward(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """T + 1 streams [N, X] to T streams [N, H], or T + 1 if it hands on."""
        said = [
            [expert(stream_NX) for expert in experts.children()]
            for experts, stream_NX in zip(self.groups.children(), streams, strict=True)
        ]
        *own, shared = said
        shared_NSH = torch.stack(shared, dim=1)
        weight_XNE = self.weights(streams)
        weight_NTE = torch.stack(weight_XNE[: self.n_tasks], dim=1)
        own_NTH = _weighted(weight_NTE, own)
        # One product for all tasks: a product per task and row is so small that calling it takes most of the time.
        mixed_NTH = own_NTH + torch.bmm(weight_NTE[:, :, len(own[0]) :], shared_NSH)
        mixed = list(mixed_NTH.unbind(dim=1))
        if self.hands_on:
            all_NEH = torch.cat([*(torch.stack(group, dim=1) for group in own), shared_NSH], dim=1)
            mixed.append(torch.bmm(weight_XNE[-1].unsqueeze(1), all_NEH).squeeze(1))
        return mixed

    def weights(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """What every gate makes of its stream: [N, E] each, summing to 1; own experts come first, shared ones last."""
        gated = streams if self.hands_on else streams[:-1]
        return [torch.softmax(gate(stream_NX), dim=1) for gate, stream_NX in zip(self.gates, gated, strict=True)]


def _weighted(weight_NTE: Tensor, own: Sequence[Sequence[Tensor]]) -> Tensor:
    """What every task's own experts say, by its first weights: [N, T, H]."""
    by_place = (torch.stack(said, dim=1) for said in zip(*own, strict=True))
    first_NTH, *others = (weight_NTE[:, :, place, None] * said_NTH for place, said_NTH in enumerate(by_place))
    return sum(others, first_NTH)


class ProgressiveExtraction(nn.Module):
    """T logits from one input, through `levels` of extraction and a tower per task."""

    def __init__(
        self,
        width: int,
        n_tasks: int,
        *,
        own: int = 1,
        shared: int = 3,
        levels: int = 1,
        hidden: int = 96,
        expert: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.n_tasks = width, n_tasks
        self.levels = nn.ModuleList(
            Extraction(
                expert if level else width,
                n_tasks,
                own=own,
                shared=shared,
                hidden=hidden,
                expert=expert,
                dropout=dropout,
                hands_on=level < levels - 1,
            )
            for level in range(levels)
        )
        self.towers = Towers(expert, n_tasks, hidden=expert // 2)

    def first_weights(self, input_NX: Tensor) -> list[Tensor]:
        """How much each task listens to each expert of the first level, [N, E] per task; sums to 1 over experts."""
        level = self.levels[0]
        assert isinstance(level, Extraction)
        return level.weights([input_NX] * (self.n_tasks + 1))[: self.n_tasks]

    def forward(self, input_NX: Tensor) -> Tensor:
        """Logits [N, T]."""
        streams = [input_NX] * (self.n_tasks + 1)
        for level in self.levels:
            streams = level(streams)
        logit_NT: Tensor = self.towers(streams)
        return logit_NT
