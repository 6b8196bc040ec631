"""A linear layer over raw features that may be missing: Twitter's sparse linear layer with its online normalisation.

From `twml` (algorithms.md, section 4): `layers/sparse_max_norm.py` and `layers/full_sparse.py`. Knows no feature by name.
Shapes: N rows, F features, T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 20.0  # of a value after the logarithm: 4.8e8 before it
_SMALLEST = 1e-5  # norm of a feature that has only been 0


class SparseLinear(nn.Module):
    """[N, F] to [N, T]: the sum over present features of W (v / m + b). A missing feature adds 0, one that is present with 0 W b.

    m is the largest magnitude that training has seen, and the output of the norm never leaves [-1, 1]. One outlier would squash
    a feature for good, so values are taken as signed logarithms and clipped first. It has no bias of its own: the ranker has.
    """

    norm_F: Tensor

    def __init__(self, n_features: int, n_tasks: int) -> None:
        super().__init__()
        self.register_buffer("norm_F", torch.zeros(n_features))
        self.weight_FT = nn.Parameter(torch.zeros(n_features, n_tasks))
        self.presence_F = nn.Parameter(torch.zeros(n_features))

    def normal(self, dense_NF: Tensor) -> Tensor:
        """Values in [-1, 1], 0 where missing. In training the norms grow first, so that they hold for this batch too."""
        raw_NF = torch.nan_to_num(dense_NF, nan=0.0)
        value_NF = (torch.sign(raw_NF) * torch.log1p(torch.abs(raw_NF))).clamp(-LIMIT, LIMIT)
        if self.training and len(value_NF):
            self.norm_F.copy_(torch.maximum(self.norm_F, value_NF.detach().abs().amax(dim=0)))
        return (value_NF / self.norm_F.clamp(min=_SMALLEST)).clamp(-1.0, 1.0)

    def forward(self, dense_NF: Tensor) -> Tensor:
        """What present features add to the logits, [N, T]; finite for every input, NaN (missing) and infinities included."""
        present_NF = (~torch.isnan(dense_NF)).to(self.weight_FT.dtype)
        return (self.normal(dense_NF) + self.presence_F * present_NF) @ self.weight_FT
