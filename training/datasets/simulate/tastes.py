"""Draws users and how their tastes and moods move through the log. Knows topics only; nobody acts here.

Shapes: T topics, D latent dimensions, U users, N days, B blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.datasets.simulate.config import DAY_MS, SimulationConfig
from training.datasets.simulate.sampler import draw_columns
from training.datasets.simulate.state import BLOCK_MS, Float, Topics, Users

_INTERESTS = 3
_NEW_INTEREST = 0.12  # chance per day
_MOOD_STAYS = 0.65  # from one block to the next
_NEWCOMERS = 0.08  # share of users who register during the log
_YEAR_MS = 365 * DAY_MS


def draw_users(config: SimulationConfig, topics: Topics, rng: np.random.Generator) -> Users:
    """Users with a few interests each; activity is heavy-tailed, and some register during the log."""
    count = config.users
    taste_NUD = _tastes(config, topics, rng)
    age_ms_U = np.where(
        rng.random(count) < _NEWCOMERS,
        rng.random(count) * config.days * DAY_MS,
        config.days * DAY_MS + rng.exponential(1.5 * _YEAR_MS, size=count),
    )
    activity_U = np.exp(0.9 * rng.normal(size=count)).clip(0.05, 12)
    eager_U, sociable_U, grumpy_U = rng.normal(size=(3, count)).astype(np.float32)
    return Users(
        taste_NUD=taste_NUD,
        mood_BU=_moods(taste_NUD, topics, rng),
        activity_U=(activity_U / activity_U.mean()).astype(np.float32),
        registered_ms_U=config.end_ms - age_ms_U.astype(np.int64),
        patience_U=rng.normal(np.log(25_000), 0.5, size=count).astype(np.float32),
        eager_U=eager_U,
        sociable_U=sociable_U,
        grumpy_U=grumpy_U,
        followers_U=np.exp(rng.normal(3.5, 1.3, size=count)).astype(np.int64),
    )


def topic_affinity(taste_XD: Float, topics: Topics, sharpness: float) -> NDArray[np.float32]:
    """How much a taste is drawn to each topic: positive, not normalised. Shape [X, T]."""
    return np.asarray(np.exp(np.float32(sharpness) * (taste_XD @ topics.vector_TD.T)))


def unit(vector_XD: NDArray[np.floating]) -> Float:
    """Rows scaled to length 1."""
    return np.asarray(vector_XD / np.linalg.norm(vector_XD, axis=1, keepdims=True), dtype=np.float32)


def _tastes(config: SimulationConfig, topics: Topics, rng: np.random.Generator) -> Float:
    """A random walk on the sphere: a small step every day, and now and then a new interest. Shape [N, U, D]."""
    shape_UD = (config.users, topics.vector_TD.shape[1])
    taste_UD = 0.2 * unit(rng.normal(size=shape_UD))
    for strength in np.linspace(1.0, 0.4, _INTERESTS):
        taste_UD += np.float32(strength) * _any_topic(config.users, topics, rng)
    days = []
    for _ in range(config.days):
        days.append(unit(taste_UD))
        gains_U1 = 0.9 * (rng.random((config.users, 1)) < _NEW_INTEREST)
        step_UD = 0.12 * unit(rng.normal(size=shape_UD)) + gains_U1 * _any_topic(config.users, topics, rng)
        taste_UD = days[-1] + step_UD.astype(np.float32)
    return np.stack(days)


def _moods(taste_NUD: Float, topics: Topics, rng: np.random.Generator) -> NDArray[np.int8]:
    """The topic of each user's current interest, drawn from the taste of the day. Shape [B, U]."""
    moods: list[NDArray[np.int64]] = []
    for taste_UD in taste_NUD:
        affinity_UT = topic_affinity(taste_UD, topics, sharpness=6.0)
        for _ in range(DAY_MS // BLOCK_MS):
            fresh_U = draw_columns(affinity_UT, rng)
            stays_U = rng.random(len(fresh_U)) < _MOOD_STAYS
            moods.append(np.where(stays_U, moods[-1], fresh_U) if moods else fresh_U)
    return np.stack(moods).astype(np.int8)


def _any_topic(count: int, topics: Topics, rng: np.random.Generator) -> Float:
    topic_U = rng.choice(len(topics.weight_T), size=count, p=topics.weight_T)
    return np.asarray(topics.vector_TD[topic_U])
