"""The value model: what a predicted action is worth to the product. Knows no stage and no user.

V = sum over tasks of weight x P(task), with negative weights for actions the product wants less of (Instagram Explore 2019).
Shapes: N candidates, T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidArgument
from serving.wire.ranking import MAX_WEIGHT


def check_weights(table: str, weights: Mapping[str, float]) -> None:
    """Raises InvalidArgument naming the weight that is no number or too large, or a table that gives everything 0."""
    for task, weight in weights.items():
        if not abs(weight) <= MAX_WEIGHT:
            raise InvalidArgument(f"value_weights.{table}.{task}", f"must lie within +-{MAX_WEIGHT:g}, got {weight}")
    if not any(weights.values()):
        raise InvalidArgument(
            f"value_weights.{table}", "gives every task weight 0, which orders nothing; set at least one"
        )


@dataclass(frozen=True)
class Term:
    """What one predicted action adds to the value of one candidate."""

    task: str
    weight: float
    probability: float

    @property
    def worth(self) -> float:
        """weight x probability."""
        return self.weight * self.probability


def terms(probability: Mapping[str, float], weights: Mapping[str, float]) -> list[Term]:
    """The value of one candidate taken apart: one term per predicted task, those without a weight included."""
    return [Term(task, weights.get(task, 0.0), likely) for task, likely in probability.items()]


def value(
    probability_NT: NDArray[np.float32], tasks: Sequence[str], weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """V per candidate, shape [N]. A task without a weight counts 0; a weight without a task predicts nothing and is skipped."""
    weight_T = np.array([weights.get(task, 0.0) for task in tasks], dtype=np.float64)
    return probability_NT.astype(np.float64) @ weight_T
