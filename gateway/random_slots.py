"""Places of the feed that chance fills now and then, so that what is logged can judge rankings that were never served.

The greedy rule (`gateway.diversity`) shows one item at a place for certain, which says nothing of any other item there. At a place
inside the range, let g be the item that the greedy rule takes and R the candidates left that have a value of at least 0. With
probability `share` an item of R is drawn, all with the same chance; otherwise g is taken. Given the items above the place,

    P(item) = share / |R| + (1 - share) * [item = g]     for the items of R, which sum to 1
    P(g)    = 1                                          outside the range, and where R is empty

These are the propensities that are logged; their product over a page is the probability of the whole page, given the candidates.
g lies in R whenever R has an item, as the greedy rule prefers any value of at least 0 to a negative one. A drawn item counts for
its author and its seed account like any other: the greedy choices below it see it. A negative value is never drawn.

Chance is a hash of the request id and the position, so that the same request makes the same page again.
Shapes: R candidates that may be drawn.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.hashing import unit


@dataclass(frozen=True)
class RandomSlots:
    """How often chance decides, and at which positions of the feed (from 0, both ends included; no `last`: to the end)."""

    share: float = 0.0
    first: int = 0
    last: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what is no probability, or no range."""
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share of random slots must lie in [0, 1], got {self.share}")
        if self.first < 0 or (self.last is not None and self.last < self.first):
            raise ValueError(
                f"random slots must begin at 0 or later and end behind that, got {self.first} to {self.last}"
            )

    def covers(self, position: int) -> bool:
        """Whether chance may decide at this position."""
        return self.share > 0 and self.first <= position and (self.last is None or position <= self.last)


NO_RANDOM_SLOTS = RandomSlots()


@dataclass(frozen=True)
class Draw:
    """The chances of one page, whose first item stands at `first_position` of the feed."""

    slots: RandomSlots
    request_id: str
    first_position: int

    def pick(self, place: int, greedy: int, row_R: NDArray[np.int64]) -> tuple[int, float]:
        """The row for a place of the page (from 0), and its propensity. `row_R` is what may be drawn, `greedy` among it."""
        position = self.first_position + place
        if not self.slots.covers(position) or len(row_R) == 0:
            return greedy, 1.0
        whether, which = _numbers(self.request_id, position)
        row = int(row_R[int(which * len(row_R))]) if whether < self.slots.share else greedy
        propensity = self.slots.share / len(row_R) + (1.0 - self.slots.share if row == greedy else 0.0)
        return row, min(propensity, 1.0)  # one candidate alone: the sum may be rounded above 1


def _numbers(request_id: str, position: int) -> tuple[float, float]:
    """Two independent numbers in [0, 1): whether to draw, and which."""
    digest = hashlib.blake2b(f"{request_id} {position}".encode(), digest_size=16).digest()
    return unit(digest[:8]), unit(digest[8:])
