"""Author and seed-account diversity: every further item of one author, or found from one seed account, is worth less.

Knows scores and groups only. Shapes: N candidates, K places on the page.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.random_slots import Draw

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NO_SEED = 0  # candidates without a seed account are no group
_LOWEST = -sys.float_info.max


@dataclass(frozen=True)
class DiversityConfig:
    """factor(k) = (1 - floor) * decay^k + floor for the k-th further item of a group (public form: Twitter's author discount)."""

    decay: float = 0.5
    floor: float = 0.25

    def __post_init__(self) -> None:
        """Raises ValueError for a factor that could leave (0, 1]: 0 would starve an author, above 1 would promote."""
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"diversity decay must lie in [0, 1], got {self.decay}")
        if not 0.0 < self.floor <= 1.0:
            raise ValueError(f"diversity floor must lie in (0, 1], got {self.floor}")


@dataclass(frozen=True)
class Selection:
    """The page in order: `row_K` of the candidates, the factor that each got at its place, and how likely it was there."""

    row_K: Int64
    factor_K: Float64
    propensity_K: Float64


NOTHING_FIRST: Int64 = np.empty(0, dtype=np.int64)


def select(
    score_N: Float64,
    author_N: Int64,
    seed_N: Int64,
    size: int,
    config: DiversityConfig,
    first_F: Int64 = NOTHING_FIRST,
    draw: Draw | None = None,
) -> Selection:
    """Greedy: takes the best discounted score, then discounts what is left of its author and of its seed account, and again.

    A positive score is multiplied by the factor, a negative one divided by it, so that a discount never promotes. Ties go to the
    earlier candidate. The rows `first_F` take the first places whatever they score, and discount what follows like any others.
    Behind them, with `draw`, chance may overrule the greedy choice, place by place (`gateway.random_slots`).
    Raises ValueError for a score that is not finite: an unscored item has no place in the order.
    """
    if not np.isfinite(score_N).all():
        raise ValueError("diversity needs finite scores; drop unscored candidates before")
    left = _Left(score_N, author_N, seed_N, config)
    rows: list[int] = []
    factors: list[float] = []
    propensities: list[float] = []
    for place in range(min(size, len(score_N))):
        row, propensity = left.best(), 1.0
        if place < len(first_F):
            row = int(first_F[place])
        elif draw is not None:
            row, propensity = draw.pick(place, row, left.not_negative())
        rows.append(row)
        propensities.append(propensity)
        factors.append(left.take(row))
    return Selection(np.array(rows, dtype=np.int64), np.array(factors), np.array(propensities))


class _Left:
    """The candidates that are not on the page yet, and what each of them is worth after both discounts.

    Numbers of Python, not of numpy: a place changes the worth of the few rows that share its author or its seed account, and on so
    few a call of numpy takes longer than the sums.
    """

    def __init__(self, score_N: Float64, author_N: Int64, seed_N: Int64, config: DiversityConfig) -> None:
        self._score: list[float] = score_N.tolist()
        self._worth, self._left, self._config = list(self._score), [True] * len(score_N), config
        self._author, self._seed = _Groups(author_N), _Groups(seed_N)

    def best(self) -> int:
        """The row that is worth most, of equal ones the first."""
        return self._worth.index(max(self._worth))

    def not_negative(self) -> Int64:
        """The rows whose score is none."""
        return np.array([row for row, left in enumerate(self._left) if left and self._score[row] >= 0], dtype=np.int64)

    def take(self, row: int) -> float:
        """Puts a row on the page, which discounts what is left of its groups. Returns the factor that it stood under itself."""
        factor = self._author.factor[row] * self._seed.factor[row]
        self._left[row], self._worth[row] = False, -math.inf
        changed = self._author.take(row, self._config)
        if self._seed.of_row[row] != NO_SEED:
            changed = [*changed, *self._seed.take(row, self._config)]
        for other in changed:
            if self._left[other]:
                self._worth[other] = _worth(self._score[other], self._author.factor[other] * self._seed.factor[other])
        return factor


class _Groups:
    """Which rows share an author, or a seed account, and the factor of each."""

    def __init__(self, group_N: Int64) -> None:
        self.of_row: list[int] = group_N.tolist()
        self.factor = [1.0] * len(self.of_row)
        self._taken: dict[int, int] = {}
        self._rows: dict[int, list[int]] = {}
        for row, group in enumerate(self.of_row):
            self._rows.setdefault(group, []).append(row)

    def take(self, row: int, config: DiversityConfig) -> list[int]:
        """One more of the row's group is taken: the rows whose factor that changes."""
        rows, factor = self._rows[self.of_row[row]], _factor(_count(self._taken, self.of_row[row]), config)
        for other in rows:
            self.factor[other] = factor
        return rows


def _worth(score: float, factor: float) -> float:
    """`discounted` of one score. However small the factor, what is left is worth more than what is taken."""
    if score >= 0:
        return score * factor
    return max(score / factor, _LOWEST) if factor else _LOWEST


def discounted(score_N: Float64, factor_N: Float64) -> Float64:
    """What each score counts under its factor: a positive one times the factor, a negative one divided by it. Shape [N]."""
    return np.where(score_N >= 0, score_N * factor_N, score_N / factor_N)


def factors(row_K: Int64, author_N: Int64, seed_N: Int64, config: DiversityConfig) -> tuple[Float64, Float64]:
    """The author factor and the seed factor of every candidate, shapes [N].

    Those of a page `row_K`, in the order of its places, as they were picked; those of the others for the place after the page.
    """
    no_seed_N = seed_N == NO_SEED
    author_factor_N = _group_factors(row_K, author_N, config)
    return author_factor_N, np.where(no_seed_N, 1.0, _group_factors(row_K, seed_N, config))


def _group_factors(row_K: Int64, group_N: Int64, config: DiversityConfig) -> Float64:
    taken: dict[int, int] = {}
    at_pick = {row: _count(taken, int(group_N[row])) - 1 for row in row_K.tolist()}
    already = [at_pick.get(row, taken.get(group, 0)) for row, group in enumerate(group_N.tolist())]
    return np.array([_factor(count, config) for count in already], dtype=np.float64)


def _count(taken: dict[int, int], key: int) -> int:
    taken[key] = taken.get(key, 0) + 1
    return taken[key]


def _factor(already: int, config: DiversityConfig) -> float:
    return (1.0 - config.floor) * config.decay**already + config.floor
