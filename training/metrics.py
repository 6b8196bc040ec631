"""How good predictions and orders are. Pure numpy: knows arrays, and nothing of models, tasks or files.

Shapes: N predictions, Q lists (users or requests), C candidates per list, G groups, R resamples,
J bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Int64 = NDArray[np.int64]

_SMALLEST_PROBABILITY = 1e-7  # float32 sigmoids reach 0 and 1, where a logarithm would be infinite


def auc(label_N: Floats, score_N: Floats) -> float:
    """P(a positive scores above a negative), ties counting half; NaN when there is only one class."""
    return float(auc_of_groups(label_N, score_N, np.zeros(len(label_N), dtype=np.int64), 1)[0])


def gauc(label_N: Floats, score_N: Floats, user_N: Int64, weight: str = "impressions") -> float:
    """Mean of the users' own AUCs, weighted by their "impressions" or "positives" (Zhu et al., KDD 2017, eq. 9).

    Users without both classes have no AUC and are skipped; NaN when nobody is left. Raises ValueError for another weight.
    Scores should come from histories of one moment, as those of one request do: docs/decisions/0014 says what else they measure.
    """
    if weight not in ("impressions", "positives"):
        raise ValueError(f'weight must be "impressions" or "positives", not {weight!r}')
    users, group_N = np.unique(user_N, return_inverse=True)
    auc_G = auc_of_groups(label_N, score_N, group_N, len(users))
    mass_G = np.bincount(group_N, weights=label_N if weight == "positives" else None, minlength=len(users))
    known_G = ~np.isnan(auc_G)
    return float(np.average(auc_G[known_G], weights=mass_G[known_G])) if known_G.any() else float("nan")


def log_loss(label_N: Floats, probability_N: Floats) -> float:
    """Mean binary cross-entropy in nats; NaN without predictions."""
    return float(np.mean(surprise(label_N, probability_N))) if len(label_N) else float("nan")


def surprise(label_N: Floats, probability_N: Floats) -> Floats:
    """Binary cross-entropy of every prediction in nats. Shape [N]."""
    p_N = np.clip(probability_N.astype(np.float64), _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    surprise_N: Floats = -(label_N * np.log(p_N) + (1 - label_N) * np.log1p(-p_N))
    return surprise_N


def expected_calibration_error(label_N: Floats, probability_N: Floats, bins: int = 20) -> float:
    """Mean distance between predicted and observed rate over bins of equal size; NaN without predictions.

    Equal mass, since rare actions crowd into the lowest of equally wide bins (Nixon et al., 2019, "ACE").
    """
    curve = reliability(label_N, probability_N, bins)
    gap_J = np.subtract(curve.predicted, curve.observed)
    return float(np.average(np.abs(gap_J), weights=curve.count)) if curve.count else float("nan")


@dataclass(frozen=True)
class Reliability:
    """Mean prediction, observed rate and size of the bins of a reliability diagram, in rising order of the prediction."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    count: tuple[int, ...]


def reliability(label_N: Floats, probability_N: Floats, bins: int = 20) -> Reliability:
    """Predicted and observed rates over `bins` bins of equal size; fewer bins for fewer predictions."""
    order_N = np.argsort(probability_N, kind="stable")
    bins = min(bins, len(order_N))
    bin_N = np.arange(len(order_N)) * bins // max(len(order_N), 1)
    count_J = np.bincount(bin_N, minlength=bins)
    predicted_J = np.bincount(bin_N, weights=probability_N[order_N], minlength=bins) / count_J
    observed_J = np.bincount(bin_N, weights=label_N[order_N], minlength=bins) / count_J
    return Reliability(tuple(predicted_J.tolist()), tuple(observed_J.tolist()), tuple(count_J.tolist()))


def ndcg_at_k(gain_QC: Floats, score_QC: Floats, k: int) -> Floats:
    """DCG of the first k by score over the best possible one, gains linear, discount 1 / log2(rank + 1). Shape [Q].

    Lists without any gain are NaN. Ties in the score keep the order of the columns.
    """
    discount_K = 1 / np.log2(np.arange(2, min(k, gain_QC.shape[1]) + 2))
    by_score_QK = np.argsort(-score_QC, axis=1, kind="stable")[:, : len(discount_K)]
    dcg_Q = np.take_along_axis(gain_QC, by_score_QK, axis=1).astype(np.float64) @ discount_K
    best_Q = -np.sort(-gain_QC.astype(np.float64), axis=1)[:, : len(discount_K)] @ discount_K
    return np.divide(dcg_Q, best_Q, out=np.full(len(best_Q), np.nan), where=best_Q > 0)


def ndcg_of_lists(gain_N: Floats, score_N: Floats, list_N: Int64, k: int) -> Floats:
    """`ndcg_at_k` of lists of any lengths; `list_N` says which list a row belongs to. Shape [Q], by rising list number."""
    lists, list_N = np.unique(list_N, return_inverse=True)
    first_Q = np.append(0, np.cumsum(np.bincount(list_N, minlength=len(lists))))[:-1]

    def dcg_Q(by_N: Floats) -> Floats:
        order_N = np.lexsort((-by_N, list_N))
        place_N = np.arange(len(order_N)) - first_Q[list_N[order_N]]
        discount_N = np.where(place_N < k, 1 / np.log2(place_N + 2), 0.0)
        return np.bincount(list_N[order_N], gain_N[order_N] * discount_N, len(lists)).astype(np.float64)

    best_Q = dcg_Q(gain_N)
    return np.divide(dcg_Q(score_N), best_Q, out=np.full(len(lists), np.nan), where=best_Q > 0)


def recall_at_k(relevant_QC: NDArray[np.bool_], score_QC: Floats, k: int) -> Floats:
    """Share of the relevant candidates among the first k by score; NaN for lists without any. Shape [Q]."""
    first_QK = np.argsort(-score_QC, axis=1, kind="stable")[:, :k]
    found_Q = np.take_along_axis(relevant_QC, first_QK, axis=1).sum(axis=1)
    total_Q = relevant_QC.sum(axis=1)
    return np.divide(found_Q, total_Q, out=np.full(len(total_Q), np.nan), where=total_Q > 0)


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    value_N: Floats, user_N: Int64, resamples: int = 1_000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of N values with a percentile interval over resampled users: impressions of one user are not independent.

    Values that are NaN are left out. Everything is NaN when nothing is left.
    """
    known_N = ~np.isnan(value_N)
    if not known_N.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    users, group_N = np.unique(user_N[known_N], return_inverse=True)
    sum_G = np.bincount(group_N, weights=value_N[known_N])
    count_G = np.bincount(group_N)
    random = np.random.default_rng(seed)
    # How often each user is drawn: a multinomial per resample, so that memory is [G] and not [R, G].
    share_G = np.full(len(users), 1 / len(users))
    drawn = (random.multinomial(len(users), share_G) for _ in range(resamples))
    mean_R = np.array([times_G @ sum_G / (times_G @ count_G) for times_G in drawn])
    tail = (1 - confidence) / 2
    return Interval(float(value_N[known_N].mean()), *(float(q) for q in np.quantile(mean_R, [tail, 1 - tail])))


def auc_of_groups(label_N: Floats, score_N: Floats, group_N: Int64, groups: int) -> Floats:
    """AUC inside every group by the rank-sum identity (Mann and Whitney, 1947), ties with their mean rank. Shape [G]."""
    order_N = np.lexsort((score_N, group_N))
    label_N, score_N, group_N = label_N[order_N].astype(np.float64), score_N[order_N], group_N[order_N]
    place_N = np.arange(len(order_N))
    new_N = np.ones(len(order_N), dtype=np.bool_)
    new_N[1:] = (np.diff(group_N) != 0) | (np.diff(score_N) != 0)
    tie_N = np.cumsum(new_N) - 1
    rank_N = (np.bincount(tie_N, weights=place_N) / np.bincount(tie_N))[tie_N] if len(tie_N) else place_N
    size_G = np.bincount(group_N, minlength=groups)
    rank_N = rank_N - (np.cumsum(size_G) - size_G)[group_N]
    positive_G = np.bincount(group_N, weights=label_N, minlength=groups)
    rank_sum_G = np.bincount(group_N, weights=label_N * rank_N, minlength=groups)
    pairs_G = positive_G * (size_G - positive_G)
    wins_G = rank_sum_G - positive_G * (positive_G - 1) / 2
    return np.divide(wins_G, pairs_G, out=np.full(groups, np.nan), where=pairs_G > 0)
