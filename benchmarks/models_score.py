"""AUC and GAUC of several seeds with intervals over resampled users, and of differences on the same resamples.

Impressions of one user are not independent, so users are drawn and not impressions; models that are compared see the same draws.

Shapes: N impressions, G users, S seeds, R resamples, D distinct scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics import Interval, auc

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """One model on one task. `mean_R` are means over seeds, one per resample."""

    mean: float
    by_seed: tuple[float, ...]
    mean_R: Float64

    def interval(self) -> Interval:
        """95 %, of the mean over seeds."""
        return Interval(self.mean, *_bounds(self.mean_R))

    def minus(self, other: Judged) -> Interval:
        """The paired difference: both on the same draws of users."""
        return Interval(self.mean - other.mean, *_bounds(self.mean_R - other.mean_R))


class Judge:
    """The test impressions of one task and the draws of their users, the same for every model."""

    def __init__(self, label_N: Float32, user_N: Int64, resamples: int, seed: int = 0) -> None:
        users, self._group_N = np.unique(user_N, return_inverse=True)
        self._label_N = label_N.astype(np.float64)
        self._users, self._resamples, self._seed = len(users), resamples, seed

    def auc(self, score_SN: Float32) -> Judged:
        """Area under the curve over all impressions."""
        by_seed = tuple(auc(self._label_N, score_N) for score_N in score_SN)
        ranked = [_Ranked.of(self._label_N, score_N, self._group_N) for score_N in score_SN]
        mean_R = [np.mean([each.auc(times_G) for each in ranked]) for times_G in self._draws()]
        return Judged(float(np.mean(by_seed)), by_seed, np.array(mean_R))

    def gauc(self, score_SN: Float32) -> Judged:
        """Mean of users' own areas, weighted by impressions as `metrics.gauc` does it. Users with one class only have none."""
        size_G = np.bincount(self._group_N, minlength=self._users).astype(np.float64)
        area_SG = np.stack([user_aucs(self._label_N, score_N, self._group_N, self._users) for score_N in score_SN])
        known_G = ~np.isnan(area_SG[0])  # by labels alone, so the same for every seed
        if not known_G.any():
            return Judged(float("nan"), (), np.full(self._resamples, np.nan))
        by_seed = tuple(np.average(area_SG[:, known_G], axis=1, weights=size_G[known_G]).tolist())
        weighted_G, counted_G = np.where(known_G, size_G * area_SG.mean(axis=0), 0), np.where(known_G, size_G, 0)
        mean_R = [float(times_G @ weighted_G) / float(times_G @ counted_G or np.nan) for times_G in self._draws()]
        return Judged(float(np.mean(by_seed)), by_seed, np.array(mean_R))

    def _draws(self) -> Iterator[Float64]:
        """How often each user is drawn, [G], once per resample."""
        random = np.random.default_rng(self._seed)
        share_G = np.full(self._users, 1 / self._users)
        for _ in range(self._resamples):
            yield random.multinomial(self._users, share_G).astype(np.float64)


@dataclass(frozen=True)
class _Ranked:
    """Impressions by score, sorted once: what is left for a resample is two sums."""

    distinct: int
    positive_group_P: Int64
    positive_place_P: Int64
    negative_group_Q: Int64
    negative_place_Q: Int64

    @classmethod
    def of(cls, label_N: Float64, score_N: Float32, group_N: Int64) -> _Ranked:
        values, place_N = np.unique(score_N, return_inverse=True)
        hit_N = label_N > 0
        return cls(len(values), group_N[hit_N], place_N[hit_N], group_N[~hit_N], place_N[~hit_N])

    def auc(self, times_G: Float64) -> float:
        """With every impression as often as its user was drawn; ties count half."""
        positive_D = np.bincount(self.positive_place_P, times_G[self.positive_group_P], self.distinct)
        negative_D = np.bincount(self.negative_place_Q, times_G[self.negative_group_Q], self.distinct)
        below_D = np.cumsum(negative_D) - negative_D / 2
        pairs = positive_D.sum() * negative_D.sum()
        return float(positive_D @ below_D / pairs) if pairs else float("nan")


def user_aucs(label_N: Float64, score_N: Float32, group_N: Int64, users: int) -> Float64:
    """Each user's own AUC [G], ties counting half; NaN for users with one class."""
    order_N = np.lexsort((score_N, group_N))
    label_N, score_N, group_N = label_N[order_N], score_N[order_N], group_N[order_N]
    new_N = np.append(True, (np.diff(group_N) != 0) | (np.diff(score_N) != 0))
    tie_N = np.cumsum(new_N) - 1
    negative_D = np.bincount(tie_N, 1 - label_N)
    before_G = np.append(0, np.cumsum(np.bincount(group_N, 1 - label_N, users)))[:-1]
    below_N = (np.cumsum(negative_D) - negative_D / 2)[tie_N] - before_G[group_N]
    hits_G = np.bincount(group_N, label_N, users)
    pairs_G = hits_G * (np.bincount(group_N, minlength=users) - hits_G)
    wins_G = np.bincount(group_N, label_N * below_N, users)
    return np.divide(wins_G, pairs_G, out=np.full(users, np.nan), where=pairs_G > 0)


def _bounds(value_R: Float64) -> tuple[float, float]:
    low, high = np.nanquantile(value_R, [0.025, 0.975]) if (~np.isnan(value_R)).any() else (np.nan, np.nan)
    return float(low), float(high)
