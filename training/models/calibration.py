"""From the logits of a ranker to calibrated probabilities, with plain operations that every graph has. Knows no labels.

What the knots are is found in `training.calibration`.
Shapes: N candidates, T tasks, K segments between knots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Float64 = NDArray[np.float64]

LIMIT = 15.0  # logits end here: float32 still tells the probabilities from 0 and 1
KNOTS = 32  # of one head, both ends included


class Calibration(nn.Module):
    """A monotone piecewise linear function of the logit per head, and the sigmoid of it.

    What is stored is what calibration adds to a logit, so that an untouched head keeps its logits to the last bit. The first and
    the last knot of a fitted head are -LIMIT and LIMIT with nothing to add: what lies beyond the data falls back to the network.
    `prior_T` comes first: the closed-form correction of sampled negatives.
    """

    prior_T: Tensor
    x_TK: Tensor
    width_TK: Tensor
    tilt_TK: Tensor

    def __init__(self, n_tasks: int) -> None:
        super().__init__()
        self.register_buffer("prior_T", torch.zeros(n_tasks))
        for name in ("x_TK", "width_TK", "tilt_TK"):
            self.register_buffer(name, torch.zeros(n_tasks, KNOTS - 1))

    def correct_prior(self, logit_T: Float64) -> None:
        """Sets what is added to every logit of a head before its knots are looked up."""
        self.prior_T.copy_(torch.from_numpy(logit_T))

    def set_knots(self, knots: Sequence[tuple[Float64, Float64]]) -> None:
        """Takes x and y of every head's knots: logits after the prior, and calibrated ones; both rise and have the same ends."""
        for task, (exact_K, y_K) in enumerate(knots):
            # Widths follow from the rounded knots, or segments would overlap by a rounding error.
            x_K = exact_K.astype(np.float32).astype(np.float64)
            width_K = np.diff(x_K)
            for buffer, value_K in (
                (self.x_TK, x_K[:-1]),
                (self.width_TK, width_K),
                (self.tilt_TK, np.diff(y_K - x_K) / width_K),
            ):
                buffer[task] = 0
                buffer[task, : len(value_K)] = torch.from_numpy(value_K)

    def logits(self, logit_NT: Tensor) -> Tensor:
        """Calibrated logits [N, T] inside [-LIMIT, LIMIT]; NaN stays NaN, as it is a defect that export has to find."""
        prior_NT = (logit_NT + self.prior_T).clamp(-LIMIT, LIMIT)
        inside_NTK = (prior_NT.unsqueeze(2) - self.x_TK).clamp(min=0.0)
        added_NT = (torch.minimum(inside_NTK, self.width_TK) * self.tilt_TK).sum(dim=2)
        return (prior_NT + added_NT).clamp(-LIMIT, LIMIT)

    def forward(self, logit_NT: Tensor) -> Tensor:
        """Probabilities [N, T], strictly between 0 and 1."""
        return torch.sigmoid(self.logits(logit_NT))


class Calibrated(nn.Module):
    """A ranker and its calibration as one network, from raw inputs to probabilities [N, T]: what becomes a graph."""

    def __init__(self, ranker: nn.Module, calibration: Calibration) -> None:
        super().__init__()
        self.ranker, self.calibration = ranker, calibration

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.calibration(self.ranker(*inputs))
