"""The recommender that made the log: a mixture of popularity, follows, a rough idea of taste, and chance.

Knows what a recommender of its time would (tastes only through noise, moods not at all); never what users will do.

Shapes: R requests, C candidates per request, X impressions, T topics, A accounts, M media, U users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.datasets.simulate.config import DAY_MS
from training.datasets.simulate.pairs import as_set, first_of_each, place_in
from training.datasets.simulate.sampler import GroupedSampler, draw_columns
from training.datasets.simulate.sessions import Requests
from training.datasets.simulate.state import Bool, Float, Int64
from training.datasets.simulate.tastes import topic_affinity
from training.datasets.simulate.world import World

SLATE = (20, 25)  # fewest and most items on a page
_POPULAR, _TOPICAL, _FOLLOWED, _ANY = 18, 24, 10, 12  # candidates per request
_CANDIDATES = _POPULAR + _TOPICAL + _FOLLOWED + _ANY


@dataclass(frozen=True)
class Slates:
    """X impressions, by request and position."""

    request_X: Int64  # row of the day's requests
    media_X: Int64
    position_X: Int64
    is_random_X: Bool  # shown by a request that drew uniformly from all media


class LoggingPolicy:
    """Fills the requests of one day after another, and never shows a user the same media twice."""

    def __init__(self) -> None:
        self._seen = np.empty(0, dtype=np.int64)  # user * M + media, ascending

    def fill(self, world: World, day: int, requests: Requests, rng: np.random.Generator) -> Slates:
        """The slates of a day's requests."""
        media_RC = _candidates(world, day, requests, rng)
        is_random_R = rng.random(len(media_RC)) < world.config.random_share
        uniform_RC = rng.integers(world.config.media, size=media_RC.shape)
        media_RC = np.where(is_random_R[:, None], uniform_RC, media_RC)
        score_RC = _scores(world, requests, media_RC, rng)
        score_RC = np.where(is_random_R[:, None], rng.random(score_RC.shape), score_RC)
        keep_RC = self._showable(world, requests, media_RC)
        request_X, media_X, position_X = _pages(media_RC, np.where(keep_RC, score_RC, -np.inf), rng)
        shown = requests.user_R[request_X] * world.config.media + media_X
        self._seen = as_set(np.concatenate([self._seen, shown]))
        return Slates(request_X, media_X, position_X, is_random_R[request_X])

    def _showable(self, world: World, requests: Requests, media_RC: Int64) -> Bool:
        """Media that exist by then and that the user meets for the first time, today and in the log."""
        exists_RC = (media_RC >= 0) & (world.media.created_ms_M[media_RC] < requests.time_ms_R[:, None])
        pair_X = (requests.user_R[:, None] * world.config.media + media_RC)[exists_RC]
        showable_RC = np.zeros(media_RC.shape, dtype=np.bool_)
        showable_RC[exists_RC] = first_of_each(pair_X) & (place_in(self._seen, pair_X) < 0)
        return showable_RC


def _candidates(world: World, day: int, requests: Requests, rng: np.random.Generator) -> Int64:
    """Rows of media, -1 where a source has none. Shape [R, C]."""
    count = len(requests.user_R)
    weight_M = _demand(world, day)
    by_topic = GroupedSampler(weight_M, world.media.topic_M, world.config.topics)
    by_account = GroupedSampler(weight_M, world.media.account_M, world.config.accounts)
    anywhere = GroupedSampler(weight_M, np.zeros(world.config.media, dtype=np.int64), 1)
    affinity_RT = topic_affinity(world.users.taste_NUD[day, requests.user_R], world.topics, sharpness=5.0)
    topic_X = draw_columns(np.repeat(affinity_RT, _TOPICAL, axis=0), rng)
    account_X = _followed_accounts(world, np.repeat(requests.user_R, _FOLLOWED), rng)
    followed_X = np.where(account_X >= 0, by_account.draw(np.maximum(account_X, 0), rng), -1)
    columns = (
        anywhere.draw(np.zeros(count * _POPULAR, dtype=np.int64), rng),
        by_topic.draw(topic_X, rng),
        followed_X,
        rng.integers(world.config.media, size=count * _ANY),
    )
    return np.concatenate([column.reshape(count, -1) for column in columns], axis=1)


def _demand(world: World, day: int) -> Float:
    """Popularity, more of it for new media; media posted later than this day have none. Shape [M]."""
    morning_ms = world.config.start_ms + day * DAY_MS
    age_days_M = (morning_ms - world.media.created_ms_M) / DAY_MS
    weight_M = world.media.popularity_M * (0.15 + np.exp(-np.maximum(age_days_M, 0) / 3))
    return np.where(age_days_M > -1, weight_M, 0.0).astype(np.float32)


def _followed_accounts(world: World, user_X: Int64, rng: np.random.Generator) -> Int64:
    """One of the accounts that each user follows by now, -1 where there is none. Shape [X]."""
    owner_F = world.follows.pair_F // world.config.accounts
    first_X, end_X = np.searchsorted(owner_F, user_X), np.searchsorted(owner_F, user_X, side="right")
    place_X = first_X + (rng.random(len(user_X)) * (end_X - first_X)).astype(np.int64)
    account_X = world.follows.pair_F[np.minimum(place_X, len(owner_F) - 1)] % world.config.accounts
    return np.where(end_X > first_X, account_X, -1)


def _scores(world: World, requests: Requests, media_RC: Int64, rng: np.random.Generator) -> Float:
    """What the pages are sorted by. The chance candidates are spread over the whole page. Shape [R, C]."""
    taste_RD = world.users.taste_NUD[world.day(requests.time_ms_R), requests.user_R]
    match_RC = np.einsum("rd,rcd->rc", taste_RD, world.media.vector_MD[media_RC])
    popularity_RC = np.log(world.media.popularity_M[media_RC])
    score_RC = 1.4 * match_RC + 0.25 * popularity_RC + 0.5 * rng.normal(size=media_RC.shape)
    score_RC[:, -_ANY:] = score_RC.mean() + score_RC.std() * rng.normal(size=(len(media_RC), _ANY))
    return np.asarray(score_RC, dtype=np.float32)


def _pages(media_RC: Int64, score_RC: Float, rng: np.random.Generator) -> tuple[Int64, Int64, Int64]:
    """Request, media and position of the best of each request; -inf is never shown. Shapes [X]."""
    order_RC = np.argsort(-score_RC, axis=1, kind="stable")
    size_R1 = rng.integers(SLATE[0], SLATE[1] + 1, size=(len(media_RC), 1))
    shown_RC = np.isfinite(np.take_along_axis(score_RC, order_RC, axis=1)) & (np.arange(media_RC.shape[1]) < size_R1)
    request_X, position_X = np.nonzero(shown_RC)
    return request_X, np.take_along_axis(media_RC, order_RC, axis=1)[shown_RC], position_X
