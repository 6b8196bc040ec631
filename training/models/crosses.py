"""Layers that multiply inputs with each other before the experts: low-rank crosses and instance-guided masks.

They know nothing of what they are fed. Both keep the input beside what they add, so a product is never the only thing passed on.
Shapes: N rows, X input width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

CrossKind = Literal["none", "dcn", "masknet"]


class LowRankCross(nn.Module):
    """DCNv2 (Wang et al., WWW 2021, eq. 1 and 2): x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l.

    After l layers the output holds products of up to l + 1 inputs. It starts as the identity, as U and b start at zero.
    """

    def __init__(self, width: int, layers: int = 2, rank: int = 32) -> None:
        super().__init__()
        self.output_width = width
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))
        for up in self.up.children():
            for weight in up.parameters():
                nn.init.zeros_(weight)

    def forward(self, input_NX: Tensor) -> Tensor:
        """[N, X] to [N, X]."""
        crossed_NX = input_NX
        for down, up in zip(self.down, self.up, strict=True):
            crossed_NX = input_NX * up(down(crossed_NX)) + crossed_NX
        return crossed_NX


class MaskNet(nn.Module):
    """Parallel mask blocks (Wang et al., DLP-KDD 2021, arXiv 2102.07619, sections 3.2 to 3.4), as in Twitter's heavy ranker.

    Every block normalises the input, multiplies it by a mask that two layers make of the input as it is, and projects it. The
    input stands beside the blocks in the output: over the whole input LayerNorm takes away how large it was.
    """

    def __init__(self, width: int, blocks: int = 2, output: int = 64, reduction: int = 64) -> None:
        super().__init__()
        self.output_width = width + blocks * output
        self.norm = nn.LayerNorm(width)
        self.masks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, reduction), nn.ReLU(), nn.Linear(reduction, width)) for _ in range(blocks)
        )
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(width, output), nn.LayerNorm(output), nn.SiLU()) for _ in range(blocks)
        )

    def forward(self, input_NX: Tensor) -> Tensor:
        """[N, X] to [N, output_width]."""
        normal_NX = self.norm(input_NX)
        blocks = [hidden(mask(input_NX) * normal_NX) for mask, hidden in zip(self.masks, self.hidden, strict=True)]
        return torch.cat([input_NX, *blocks], dim=1)
