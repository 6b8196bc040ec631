"""Isotonic regression of labels on logits, and the few knots that a graph interpolates between. Knows arrays, no networks.

Order of steps as in Twitter's timelines (algorithms.md, section 4): the network trains on sampled rows, its logits are corrected
for that in closed form, and what is then still wrong is measured on rows that nobody sampled, trained or stopped on.

Shapes: N rows, G groups of rows (ordered, each with a weight), K knots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.models.calibration import KNOTS, LIMIT

Floats = NDArray[np.floating]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Knots = tuple[Float64, Float64]

MIN_CASES = 100  # of the rarer class: with fewer a head keeps its logits
_CASES_PER_KNOT = 25  # on average between two knots
_PRIOR_CASES = 50  # cases that say the network was right, added to those of every bin
_CHANCE = 3.0  # squared deviations that still look like chance, in units of what independent rows would show: requests are not
_GRID = 1e-3  # logits that round to the same are one group: no segment gets so steep that float32 cannot follow
_FLATTEST = (
    0.05  # slope that is left where the isotonic function is flat, so that nothing ties that the network told apart
)
_ROUNDS = 5  # of fitting the knots to the rates of their bins


def isotonic(value_G: Floats, weight_G: NDArray[np.number]) -> Float64:
    """The non-decreasing function closest to `value_G` in weighted squares, by pooling adjacent violators (PAVA).

    A falling run ends up in one block whatever is pooled first, so every round pools all such runs at once.
    """
    mean_G, mass_G = value_G.astype(np.float64), weight_G.astype(np.float64)
    size_G = np.ones(len(mean_G), dtype=np.int64)
    while True:
        starts_G = np.flatnonzero(np.diff(mean_G, prepend=-np.inf) >= 0) if len(mean_G) else np.empty(0, np.int64)
        if len(starts_G) == len(mean_G):
            return np.repeat(mean_G, size_G)
        total_G, mass_G = np.add.reduceat(mean_G * mass_G, starts_G), np.add.reduceat(mass_G, starts_G)
        mean_G, size_G = total_G / mass_G, np.add.reduceat(size_G, starts_G)


def knots(logit_N: Floats, label_N: Floats, most: int = KNOTS) -> Knots:
    """x and y of at most `most` knots, logits and calibrated logits, both rising strictly from -LIMIT to LIMIT.

    Knots lie at the mean prediction of bins of equally many rows. Between and beyond them the function is linear, so that the
    order of the network stays as it is. With fewer than `MIN_CASES` of a class there are only the ends: the identity. Logits
    that are not finite are left out.
    """
    finite_N = np.isfinite(logit_N)
    logit_N, label_N = logit_N[finite_N].astype(np.float64), label_N[finite_N].astype(np.float64)
    cases = min(label_N.sum(), len(label_N) - label_N.sum())
    if cases < MIN_CASES:
        return _with_ends(np.empty(0)), _with_ends(np.empty(0))
    grid_G, group_N, weight_G = np.unique(
        np.clip(np.round(logit_N / _GRID) * _GRID, 1 - LIMIT, LIMIT - 1), return_inverse=True, return_counts=True
    )
    bin_G = _bins(weight_G, int(np.clip(cases // _CASES_PER_KNOT, 1, most - 2)))
    weight_K = np.bincount(bin_G, weights=weight_G).astype(np.float64)

    def mean_K(value_G: Float64) -> Float64:
        return np.bincount(bin_G, weights=value_G * weight_G) / weight_K

    rate_G, predicted_K = np.bincount(group_N, weights=label_N) / weight_G, mean_K(_sigmoid(grid_G))
    trust_K = _trust(predicted_K, mean_K(rate_G), weight_K)
    target_K = _logit(predicted_K + trust_K * (mean_K(isotonic(rate_G, weight_G)) - predicted_K))
    x_K = y_K = _logit(predicted_K)
    # A knot speaks for its whole bin, and the sigmoid is not straight there: so its height is what gives the bin its rate.
    for _ in range(_ROUNDS):
        said_K = mean_K(_sigmoid(np.interp(grid_G, _with_ends(x_K), _with_ends(y_K))))
        y_K = np.clip(y_K + target_K - _logit(said_K), 1 - LIMIT, LIMIT - 1)
        # Once more isotonic, above the least slope.
        y_K = isotonic(y_K - _FLATTEST * x_K, weight_K) + _FLATTEST * x_K
    return _with_ends(x_K), _with_ends(y_K)


def _trust(predicted_K: Float64, observed_K: Float64, weight_K: Float64) -> Float64:
    """How far to follow the observed rate of each bin from the predicted one, 0 to 1: farther with more cases in the bin.

    Were the network right and the rows independent, the mean squared deviation would be one unit of chance. Where it is far
    above, the network is far off, and the cases that speak for it are discounted (empirical Bayes).
    """
    cases_K = weight_K * predicted_K * (1 - predicted_K)
    surprise = float(np.mean(((observed_K - predicted_K) * weight_K) ** 2 / cases_K))
    prior_cases = min(_PRIOR_CASES, cases_K.mean() / max(surprise - _CHANCE, 1e-9))
    return cases_K / (cases_K + prior_cases)


def _bins(mass_G: NDArray[np.number], n_bins: int) -> Int64:
    """Bins of about equal mass without empty ones, numbered from 0; a group is never split."""
    middle_G = np.cumsum(mass_G) - mass_G / 2
    return np.unique((middle_G * n_bins / mass_G.sum()).astype(np.int64), return_inverse=True)[1]


def _logit(probability_K: Float64) -> Float64:
    inside_K = np.clip(probability_K, _sigmoid(np.array(-LIMIT)), _sigmoid(np.array(LIMIT)))
    return np.log(inside_K) - np.log1p(-inside_K)


def _sigmoid(logit_G: Float64) -> Float64:
    return 1 / (1 + np.exp(-logit_G))


def _with_ends(value_K: Float64) -> Float64:
    return np.concatenate([[-LIMIT], value_K, [LIMIT]])
