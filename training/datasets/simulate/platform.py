"""What the platform knows beside the log: which user posts under which account, and what content policy says about media.

Knows the world; the world knows nothing of this: nobody acts otherwise for an account or for a flag.

Shapes: U users, A accounts, M media, P flags, C users or accounts of one topic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.datasets.simulate.state import Bool, Float, Int64
from training.datasets.simulate.tastes import topic_affinity
from training.datasets.simulate.world import World

NOBODY = -1

_OWNED_SHARE = 0.5  # of accounts: those whose owner is among the users
# Chance of each flag: of any media item, more for one that the integrity model is sure about, more for one of a spam account.
_CHANCE = {"graphic": (0.004, 0.05, 0.0), "nudity": (0.006, 0.08, 0.0), "unoriginal": (0.01, 0.02, 0.35)}
POLICY_FLAGS = tuple(_CHANCE)


@dataclass(frozen=True)
class Platform:
    """Columns of the users and media tables that the world does without."""

    account_U: Int64  # row of the account under which a user posts, NOBODY without one; nobody shares one
    flagged_MP: Bool  # columns as POLICY_FLAGS


def draw_platform(world: World, owner_rng: np.random.Generator, flag_rng: np.random.Generator) -> Platform:
    """Owners and flags of a world in the morning of its first day."""
    return Platform(_owners(world, owner_rng), _flags(world, flag_rng))


def _owners(world: World, rng: np.random.Generator) -> Int64:
    """Half of the accounts, none of them spam, each with a user who likes its topic. Shape [U]."""
    config, accounts = world.config, world.accounts
    honest = np.flatnonzero(~accounts.is_spam_A)
    count = min(round(_OWNED_SHARE * config.accounts), len(honest), config.users)
    owned = rng.permutation(honest)[:count]
    account_U = np.full(config.users, NOBODY, dtype=np.int64)
    free_U = np.ones(config.users, dtype=np.bool_)
    affinity_UT = topic_affinity(world.users.taste_NUD[0], world.topics, sharpness=6.0)
    for topic in rng.permutation(config.topics):
        account_C = owned[accounts.topic_A[owned] == topic]
        user_C = _draw(np.where(free_U, affinity_UT[:, topic], 0), len(account_C), rng)
        account_U[user_C] = account_C
        free_U[user_C] = False
    return account_U


def _draw(weight_U: Float, count: int, rng: np.random.Generator) -> Int64:
    """That many different users, in proportion to their weights. Shape [C]."""
    with np.errstate(divide="ignore"):
        # The smallest of exponential waiting times are a weighted draw without replacement; a weight of 0 waits forever.
        wait_U = rng.exponential(size=len(weight_U)) / weight_U
    return np.argsort(wait_U, kind="stable")[:count]


def _flags(world: World, rng: np.random.Generator) -> Bool:
    """A few media of a hundred; most of them look bad to the integrity model too, and many come from spam. Shape [M, P]."""
    media = world.media
    sure_M = np.nan_to_num(media.score_M.astype(np.float64)) ** 2
    spam_M = world.accounts.is_spam_A[media.account_M]
    chance_MP = np.stack([low + sure_M * sure + spam_M * spam for low, sure, spam in _CHANCE.values()], axis=1)
    return np.asarray(rng.random(chance_MP.shape) < chance_MP)
