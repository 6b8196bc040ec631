"""The seam between the ranking contract and a model. Knows neither messages nor gRPC.

Shapes: B users, N candidates of all users, T tasks, F dense features of the stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from serving.columns import CandidateColumns, Float32, Int64

Weights = NDArray[np.float64]  # [B, T] in the order of the scorer's tasks, 0 where the arm names no weight


@dataclass(frozen=True)
class Scored:
    """What a scorer made of N candidates. A NaN score means that the candidate cannot be scored; it is dropped."""

    score_N: Float32
    probability_NT: Float32 | None  # None for a scorer without tasks
    features_us: int
    model_us: int
    dense_NF: Float32 | None = None  # the features that the model read, for those who ask for them


class Scorer(Protocol):
    """Scores candidates; the score of one never depends on the other rows or users of the batch.

    Called from one worker thread, one call at a time.
    """

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the T tasks; empty for a model that predicts none."""

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """One score per candidate, the rows in the order of `candidates`."""


def expected_value_N(probability_NT: Float32, weight_BT: Weights, offsets: Int64) -> Float32:
    """V = sum over tasks of weight * P, with the weights of the user a candidate belongs to."""
    weight_NT = np.repeat(weight_BT, np.diff(offsets), axis=0)
    return (probability_NT * weight_NT).sum(axis=1).astype(np.float32)


class PassThroughScorer:
    """Ranks by the score that the stage before gave: the baseline, and what a deployment without a model runs."""

    tasks: tuple[str, ...] = ()

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """The incoming scores. What no stage has scored stays unscored."""
        return Scored(candidates.score_N, None, features_us=0, model_us=0)
