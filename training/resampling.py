"""What predictions are worth with intervals over resampled users, and the difference of two models on the same resamples.

Impressions of one user are not independent, so users are drawn and not impressions; models that are compared see the same draws.
Knows labels, scores and users; knows nothing of models or files.

Shapes: N impressions, G users, S seeds, R resamples, D distinct scores, J bins, X columns of sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.metrics import Interval

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Values = NDArray[np.floating] | NDArray[np.integer]

_BINS = 20  # of the calibration error, as in `metrics.expected_calibration_error`
_LEAST_PER_LIST = 2  # a list of one is always in the right order


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


class Draws:
    """The users of some impressions, and how often each of them is drawn in every resample."""

    def __init__(self, user_N: Int64, resamples: int, seed: int = 0) -> None:
        users, self.group_N = np.unique(user_N, return_inverse=True)
        self.users = len(users)
        random, share_G = np.random.default_rng(seed), np.full(self.users, 1 / max(self.users, 1))
        self.times_RG = np.zeros((resamples, self.users), dtype=np.uint16)
        for times_G in self.times_RG if self.users else ():
            times_G[:] = random.multinomial(self.users, share_G)

    def sums(self, value_GX: Values) -> Float64:
        """Sums over the drawn users, one row per resample. Shape [R, X]."""
        sums_RX: Float64 = self.times_RG.astype(np.float64) @ value_GX.astype(np.float64)
        return sums_RX

    def by_user(self, value_N: Values) -> Float64:
        """Sum over each user's impressions. Shape [G]."""
        return np.bincount(self.group_N, weights=value_N, minlength=self.users).astype(np.float64)


class Judge:
    """The impressions of one task and the draws of their users, the same for every model."""

    def __init__(self, label_N: Float32, draws: Draws) -> None:
        self._label_N, self._draws = label_N.astype(np.float64), draws

    def auc(self, score_SN: Float32) -> Judged:
        """Area under the curve over all impressions."""
        by_seed = tuple(metrics.auc(self._label_N, score_N) for score_N in score_SN)
        ranked = [_Ranked.of(self._label_N, score_N, self._draws.group_N) for score_N in score_SN]
        times_RG = self._draws.times_RG.astype(np.float64)
        mean_R = [np.mean([each.auc(times_G) for each in ranked]) for times_G in times_RG]
        return Judged(float(np.mean(by_seed)), by_seed, np.array(mean_R))

    def auc_at_once(self, score_SN: Float32) -> Judged:
        """`auc` with resamples to first order: a user moves the area by what its impressions say about it (clustered DeLong).

        Costs one sort instead of one count per resample, for those who ask a hundred times.
        """
        found = [self._auc_and_influence(score_N.astype(np.float64)) for score_N in score_SN]
        by_seed = tuple(auc for auc, _ in found)
        mean, influence_G = float(np.mean(by_seed)), np.mean([influence_G for _, influence_G in found], axis=0)
        return Judged(mean, by_seed, mean + self._draws.sums(influence_G[:, None])[:, 0])

    def gauc(self, score_SN: Float32) -> Judged:
        """Mean of users' own areas, weighted by impressions as `metrics.gauc` does it. Users with one class only have none."""
        draws = self._draws
        size_G = np.bincount(draws.group_N, minlength=draws.users).astype(np.float64)
        area_SG = np.stack(
            [metrics.auc_of_groups(self._label_N, each_N, draws.group_N, draws.users) for each_N in score_SN]
        )
        weight_G = np.where(np.isnan(area_SG[0]), 0, size_G)  # by labels alone, so the same for every seed
        return self._averages(np.nan_to_num(area_SG) * weight_G, weight_G)

    def log_loss(self, probability_SN: Float32) -> Judged:
        """Mean cross-entropy in nats over all impressions."""
        draws = self._draws
        loss_SG = np.stack([draws.by_user(metrics.surprise(self._label_N, each_N)) for each_N in probability_SN])
        return self._averages(loss_SG, draws.by_user(np.ones(len(self._label_N))))

    def ndcg(self, score_SN: Float32, list_N: Int64, k: int) -> Judged:
        """NDCG@k over lists, which `list_N` numbers and none of which is shared by users.

        Lists of one impression say nothing of an order, and lists without a positive have none: both are left out.
        """
        first_Q = np.unique(list_N, return_index=True)[1]
        long_Q = np.unique(list_N, return_counts=True)[1] >= _LEAST_PER_LIST
        value_SQ = np.stack([metrics.ndcg_of_lists(self._label_N, each_N, list_N, k) for each_N in score_SN])
        known_Q = long_Q & ~np.isnan(value_SQ[0])  # by labels alone
        user_Q = self._draws.group_N[first_Q][known_Q]

        def by_user(value_Q: Float64 | None) -> Float64:
            return np.bincount(user_Q, weights=value_Q, minlength=self._draws.users).astype(np.float64)

        return self._averages(np.stack([by_user(value_Q[known_Q]) for value_Q in value_SQ]), by_user(None))

    def ece(self, probability_SN: Float32) -> Judged:
        """Expected calibration error over bins of equal mass, the same bins in every resample.

        A resample is noisier than the impressions it is drawn from, and noise in a bin counts as an error: the draws are moved
        by how much they lie above the error itself on average.
        """
        by_seed = tuple(metrics.expected_calibration_error(self._label_N, each_N) for each_N in probability_SN)
        if len(self._label_N) == 0:
            return _undefined(len(self._draws.times_RG))
        raw_R = np.mean([self._ece_R(each_N) for each_N in probability_SN], axis=0)
        mean = float(np.mean(by_seed))
        return Judged(mean, by_seed, raw_R - (raw_R.mean() - mean))

    def _auc_and_influence(self, score_N: Float64) -> tuple[float, Float64]:
        """The area, and by how much each user moves it, [G]: positives by the negatives below them, negatives by those above."""
        hit_N = self._label_N > 0
        positive_P, negative_Q = np.sort(score_N[hit_N]), np.sort(score_N[~hit_N])
        if not len(positive_P) or not len(negative_Q):
            return float("nan"), np.full(self._draws.users, np.nan)
        below_N = _share_below(negative_Q, score_N)
        auc = float(below_N[hit_N].mean())
        above_N = 1 - _share_below(positive_P, score_N)
        said_N = np.where(hit_N, (below_N - auc) / len(positive_P), (above_N - auc) / len(negative_Q))
        return auc, self._draws.by_user(said_N)

    def _ece_R(self, probability_N: Float32) -> Float64:
        users, rows = self._draws.users, len(probability_N)
        bins = min(_BINS, rows)
        bin_N = np.empty(rows, dtype=np.int64)
        bin_N[np.argsort(probability_N, kind="stable")] = np.arange(rows) * bins // rows
        cell_N = self._draws.group_N * bins + bin_N
        gap_GJ = np.bincount(cell_N, weights=probability_N - self._label_N, minlength=users * bins)
        gap_RJ = self._draws.sums(gap_GJ.reshape(users, bins))
        return np.abs(gap_RJ).sum(axis=1) / self._draws.sums(self._draws.by_user(np.ones(rows))[:, None])[:, 0]

    def _averages(self, sum_SG: Values, weight_G: Float64) -> Judged:
        """Sums of users over their weights: of all users, and of the drawn ones. Undefined where no weight is left."""
        if not weight_G.any():
            return _undefined(len(self._draws.times_RG))
        by_seed = tuple((sum_SG.sum(axis=1) / weight_G.sum()).tolist())
        drawn_R2 = self._draws.sums(np.stack([sum_SG.mean(axis=0), weight_G], axis=1))
        nan_R = np.full(len(drawn_R2), np.nan)
        mean_R = np.divide(drawn_R2[:, 0], drawn_R2[:, 1], out=nan_R, where=drawn_R2[:, 1] > 0)
        return Judged(float(np.mean(by_seed)), by_seed, mean_R)


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


def _share_below(sorted_X: Float64, score_N: Float64) -> Float64:
    """Which share of the sorted values lies below each score, equal ones counting half. Shape [N]."""
    below_N, up_to_N = (np.searchsorted(sorted_X, score_N, side=side) for side in ("left", "right"))
    return (below_N + up_to_N) / (2 * len(sorted_X))


def _undefined(resamples: int) -> Judged:
    return Judged(float("nan"), (), np.full(resamples, np.nan))


def _bounds(value_R: Float64) -> tuple[float, float]:
    low, high = np.nanquantile(value_R, [0.025, 0.975]) if (~np.isnan(value_R)).any() else (np.nan, np.nan)
    return float(low), float(high)
