"""Raw dense features to network input, inside the graph: transform, standardisation and presence. Knows no feature by name.

Shapes: N rows, F features, X columns of which the features are some.
Raw means as `features.assemble` returns it: unscaled, NaN = missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.schema import Feature, Transform
from training.columns import chunks

CLIP = 10.0  # standard deviations: beyond this an input says "extreme" and nothing more
_STD_FLOOR = 1e-6  # relative to the largest magnitude: below it a column is a constant that carries rounding noise
FIT_ROWS = 200_000  # mean, spread and percentiles do not get better with more


class DenseInput(nn.Module):
    """[N, F] raw features to [N, 2F]: standardised values (0 where missing), then presence bits.

    A missing value is not a zero (algorithms.md, section 4), so it gets a bit of its own. Whatever never varied in training
    stays silent in serving: a feature that was never present counts as missing, a constant one as its mean, and a presence bit
    that was always set is left at 0. Otherwise serving would meet weights that no example has trained.
    """

    mean_F: Tensor
    scale_F: Tensor
    low_F: Tensor
    high_F: Tensor
    known_F: Tensor
    gappy_F: Tensor
    is_log_F: Tensor

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        width = len(features)
        self.width = 2 * width
        is_log_F = torch.tensor([feature.transform is Transform.LOG1P for feature in features], dtype=torch.bool)
        for name, value_F in {
            "mean_F": torch.zeros(width),
            "scale_F": torch.ones(width),
            "low_F": torch.full((width,), -CLIP),
            "high_F": torch.full((width,), CLIP),
            "known_F": torch.ones(width, dtype=torch.bool),
            "gappy_F": torch.ones(width),
            "is_log_F": is_log_F,
        }.items():
            self.register_buffer(name, value_F)

    def fit(self, dense_NX: NDArray[np.float32], column_F: Sequence[int] | None = None) -> None:
        """Takes mean, spread and presence of F of the columns of training rows. Infinite values are present but not counted."""
        column_F = range(dense_NX.shape[1]) if column_F is None else column_F
        sample_NF = evenly_spaced(dense_NX, column_F)
        # A column at a time: all of them in float64, several times over, would be half a gigabyte.
        moments = [
            _moments(value_N.astype(np.float64), is_log)
            for value_N, is_log in zip(sample_NF.T, self.is_log_F.tolist(), strict=True)
        ]
        mean_F, spread_F = np.array(moments).T
        constant_F = spread_F <= _STD_FLOOR * np.maximum(np.abs(mean_F), 1)
        missing_F = np.zeros(len(column_F), dtype=np.int64)
        for of in chunks(0, len(dense_NX)):
            missing_F += np.isnan(dense_NX[of]).sum(axis=0)[list(column_F)]
        present_F = missing_F < len(dense_NX)
        self.mean_F.copy_(torch.from_numpy(mean_F))
        self.scale_F.copy_(torch.from_numpy(np.where(constant_F, 0, 1 / np.where(constant_F, 1, spread_F))))
        self.low_F.copy_(torch.from_numpy(mean_F - CLIP * np.where(constant_F, 0, spread_F)))
        self.high_F.copy_(torch.from_numpy(mean_F + CLIP * np.where(constant_F, 0, spread_F)))
        self.known_F.copy_(torch.from_numpy(present_F))
        self.gappy_F.copy_(torch.from_numpy((missing_F > 0) & present_F))

    def forward(self, dense_NF: Tensor) -> Tensor:
        """Network input [N, 2F]; finite for every input, NaN and infinities included."""
        present_NF = ~torch.isnan(dense_NF) & self.known_F
        raw_NF = torch.where(present_NF, dense_NF, 0.0)
        log_NF = torch.sign(raw_NF) * torch.log1p(torch.abs(raw_NF))
        value_NF = torch.where(self.is_log_F, log_NF, raw_NF)
        # Clipped before it is scaled: infinity times a zero scale would be NaN.
        clipped_NF = torch.minimum(torch.maximum(value_NF, self.low_F), self.high_F)
        standard_NF = torch.where(present_NF, (clipped_NF - self.mean_F) * self.scale_F, 0.0)
        return torch.cat([standard_NF, present_NF.to(standard_NF.dtype) * self.gappy_F], dim=1)


def evenly_spaced(dense_NX: NDArray[np.float32], column_F: Sequence[int]) -> NDArray[np.float32]:
    """The features of the rows that `spread_over` chooses."""
    return dense_NX[spread_over(len(dense_NX))][:, list(column_F)]


def spread_over(rows: int) -> slice:
    """About `FIT_ROWS` of so many rows: logs are in time order, and the first rows would be one day only."""
    return slice(None, None, max(1, rows // FIT_ROWS))


def _moments(value_N: NDArray[np.float64], is_log: bool) -> tuple[float, float]:
    """Mean and spread of the finite values of a column; of their logarithms where `is_log`."""
    if is_log:
        value_N = np.sign(value_N) * np.log1p(np.abs(value_N))
    finite_N = np.isfinite(value_N)
    count = max(int(finite_N.sum()), 1)
    mean = float(np.where(finite_N, value_N, 0).sum() / count)
    return mean, float(np.sqrt((np.where(finite_N, value_N - mean, 0) ** 2).sum() / count))
