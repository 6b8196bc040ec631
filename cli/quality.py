"""What pages are truly worth on a synthetic world, which knows what every user would have done with every item.

Shapes: U users, K items of a page, N = U x K.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import Action, action_name
from features.integrity import NON_RECOMMENDABLE_THRESHOLD
from training.contexts import ContextLog
from training.datasets import Dataset
from training.datasets.simulate import World
from training.event_log import EventLog
from training.metrics import Interval, bootstrap_mean

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_RESAMPLES = 2_000


@dataclass(frozen=True)
class Strategy:
    """A way of filling a page, and the true mean value of its items, one number per user."""

    name: str
    value_U: Float64


@dataclass(frozen=True)
class Lead:
    """How much more one strategy's items are worth than another's, over the same users.

    `ratio` is None unless the other's value is surely positive: a multiple of nothing, or of a loss, means nothing.
    """

    difference: Interval
    ratio: Interval | None


class TruePages:
    """Fills pages in the simple ways and values any page by the truth. Users are drawn once, so strategies compare in pairs."""

    def __init__(self, dataset: Dataset, world: World, weights: Mapping[str, float], n_users: int, seed: int) -> None:
        self._dataset, self._world, self._weights = dataset, world, weights
        self._random = np.random.default_rng(seed)
        log = EventLog.from_dataset(dataset)
        self._contexts = ContextLog(log, dataset.users)
        active = np.unique(log.user_E)
        self._user_U = np.sort(self._random.choice(active, size=min(n_users, len(active)), replace=False))
        self.user_ids = tuple(log.user_ids[user] for user in self._user_U)
        self._eligible, self._by_popularity = _eligible(dataset)

    def popular(self, size: int) -> Strategy:
        """The media with the most clicks that the user has not seen: what a feed without models would show."""
        return self._fill("popularity", self._by_popularity, size)

    def random(self, size: int) -> Strategy:
        """Eligible media that the user has not seen, at random."""
        return self._fill("random eligible", None, size)

    def served(self, name: str, pages: Sequence[Sequence[int]]) -> Strategy:
        """Pages that somebody else filled for `user_ids`, in their order."""
        return Strategy(name, self._value([np.asarray(page, dtype=np.int64) for page in pages]))

    def _fill(self, name: str, order: Int64 | None, size: int) -> Strategy:
        pages = []
        for user in self._user_U:
            seen_S = self._contexts.seen(int(user), self._dataset.as_of_ms)
            ranked = self._random.permutation(self._eligible) if order is None else order
            head = ranked[: size + len(seen_S)]
            pages.append(head[~np.isin(head, seen_S)][:size])
        return Strategy(name, self._value(pages))

    def _value(self, pages: Sequence[Int64]) -> Float64:
        """Mean true value per page, given that every item is looked at."""
        sizes_U = np.array([len(page) for page in pages])
        users = [user for user, size in zip(self.user_ids, sizes_U, strict=True) for _ in range(size)]
        media_N = np.concatenate(list(pages)) if len(pages) else np.empty(0, dtype=np.int64)
        truth = self._world.action_probabilities(users, media_N, self._dataset.as_of_ms)
        value_N = sum((weight * truth[task] for task, weight in self._weights.items()), np.zeros(len(media_N)))
        owner_N = np.repeat(np.arange(len(pages)), sizes_U)
        return np.bincount(owner_N, weights=value_N, minlength=len(pages)) / np.maximum(sizes_U, 1)


def interval(strategy: Strategy) -> Interval:
    """The mean over users with its 95 % bootstrap interval."""
    return bootstrap_mean(strategy.value_U, np.arange(len(strategy.value_U)))


def lead(strategy: Strategy, over: Strategy, seed: int = 0) -> Lead:
    """Difference and ratio of the means, with a bootstrap over users that keeps the pairs together."""
    random, users = np.random.default_rng(seed), len(strategy.value_U)
    draw_RU = random.integers(0, users, size=(_RESAMPLES, users))
    mine_R, other_R = strategy.value_U[draw_RU].mean(axis=1), over.value_U[draw_RU].mean(axis=1)
    mine, other = float(strategy.value_U.mean()), float(over.value_U.mean())
    ratio = _interval(mine / other, mine_R / other_R) if (other_R > 0).all() else None
    return Lead(_interval(mine - other, mine_R - other_R), ratio)


def _interval(mean: float, resampled_R: Float64) -> Interval:
    low, high = np.quantile(resampled_R, [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def fetch_pages(
    ask: Callable[[str], Sequence[int]], user_ids: Sequence[str], progress: Callable[[int, int], None]
) -> list[Sequence[int]]:
    """One page per user from whoever serves them."""
    pages = []
    for done, user_id in enumerate(user_ids, start=1):
        pages.append(ask(user_id))
        progress(done, len(user_ids))
    return pages


def _eligible(dataset: Dataset) -> tuple[Int64, Int64]:
    """Media that may be recommended at the end of the log: all of them, and ordered by clicks.

    Sourcing refuses every policy flag unless it is told otherwise, so that pages without models must not have them either.
    """
    may = pl.col("created_at").dt.epoch("ms") < dataset.as_of_ms
    may &= pl.col("non_recommendable_score") <= NON_RECOMMENDABLE_THRESHOLD
    if "policy_flags" in dataset.media.columns:
        may &= pl.col("policy_flags").list.len().fill_null(0) == 0
    allowed = dataset.media.filter(may).select("media_id")
    clicks = dataset.events.filter(pl.col("action") == action_name(Action.CLICK)).group_by("media_id").len("clicks")
    ordered = (
        allowed.join(clicks, on="media_id", how="left")
        .fill_null(0)
        .sort("clicks", "media_id", descending=[True, False])
    )
    return allowed["media_id"].to_numpy(), ordered["media_id"].to_numpy()
