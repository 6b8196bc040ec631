"""Author and seed-account diversity: every further item of one author, or found from one seed account, is worth less.

Knows scores and groups only. Shapes: N candidates, K places on the page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.random_slots import Draw

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NO_SEED = 0  # candidates without a seed account are no group


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
    author_factor_N, seed_factor_N = np.ones(len(score_N)), np.ones(len(score_N))
    taken_author: dict[int, int] = {}
    taken_seed: dict[int, int] = {}
    left_N = np.ones(len(score_N), dtype=bool)
    rows: list[int] = []
    factors: list[float] = []
    propensities: list[float] = []
    for place in range(min(size, len(score_N))):
        factor_N = author_factor_N * seed_factor_N
        discounted_N = discounted(score_N, factor_N)
        row, propensity = int(np.argmax(np.where(left_N, discounted_N, -np.inf))), 1.0
        if place < len(first_F):
            row = int(first_F[place])
        elif draw is not None:
            row, propensity = draw.pick(place, row, np.flatnonzero(left_N & (score_N >= 0)))
        rows.append(row)
        propensities.append(propensity)
        factors.append(float(factor_N[row]))
        left_N[row] = False
        author, seed = int(author_N[row]), int(seed_N[row])
        author_factor_N[author_N == author] = _factor(_count(taken_author, author), config)
        if seed != NO_SEED:
            seed_factor_N[seed_N == seed] = _factor(_count(taken_seed, seed), config)
    return Selection(np.array(rows, dtype=np.int64), np.array(factors), np.array(propensities))


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
