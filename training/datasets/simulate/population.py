"""Draws the inhabitants of a world: topics, accounts, media, users and who follows whom at the start of the log.

Knows distributions; nobody acts here.

Shapes: T topics, D latent dimensions, A accounts, M media, U users, N days, B blocks, F followed pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.datasets.simulate.config import DAY_MS, SimulationConfig
from training.datasets.simulate.pairs import as_set
from training.datasets.simulate.sampler import GroupedSampler, draw_columns
from training.datasets.simulate.state import Accounts, Float, Follows, Int64, Media, Topics
from training.datasets.simulate.tastes import topic_affinity, unit

LATENT = 16  # fewer dimensions than topics: some topics are alike
_SPAM_BOOST = 2.5  # bought popularity
_MEDIA_AGES = 3  # media were posted at the steady rate of the log for this many times its length before it


def draw_topics(config: SimulationConfig, rng: np.random.Generator) -> Topics:
    """Topics of uneven popularity."""
    weight_T = rng.gamma(2.0, size=config.topics)
    return Topics(
        vector_TD=unit(rng.normal(size=(config.topics, LATENT))),
        weight_T=weight_T / weight_T.sum(),
    )


def draw_accounts(config: SimulationConfig, topics: Topics, rng: np.random.Generator) -> Accounts:
    """Accounts with one or two topics; the share of spam accounts is exact, up to rounding."""
    count = config.accounts
    is_spam_A = np.zeros(count, dtype=np.bool_)
    is_spam_A[rng.permutation(count)[: round(config.spam_share * count)]] = True
    topic_A, second_topic_A = (rng.choice(config.topics, size=count, p=topics.weight_T) for _ in range(2))
    quality_A = rng.normal(size=count)
    return Accounts(
        account_id_A=_sparse_ids(count, rng),
        topic_A=topic_A,
        second_topic_A=second_topic_A,
        quality_A=quality_A.astype(np.float32),
        popularity_A=np.exp(1.1 * rng.normal(size=count) + 0.4 * quality_A).astype(np.float32),
        is_spam_A=is_spam_A,
    )


def draw_media(config: SimulationConfig, topics: Topics, accounts: Accounts, rng: np.random.Generator) -> Media:
    """Media in the topics of their accounts, posted at a steady rate: about a quarter of them during the log."""
    count = config.media
    account_M = _posters(config, rng)
    kind_M = rng.choice(3, size=count, p=(0.72, 0.2, 0.08))  # the account's topic, its second one, any
    topic_M = np.choose(
        kind_M,
        (accounts.topic_A[account_M], accounts.second_topic_A[account_M], rng.integers(config.topics, size=count)),
    )
    noise_MD = 0.45 * unit(rng.normal(size=(count, LATENT)))
    quality_M = 0.55 * accounts.quality_A[account_M] + 0.83 * rng.normal(size=count)
    popularity_M = accounts.popularity_A[account_M] ** 0.7 * np.exp(0.5 * quality_M + 0.8 * rng.normal(size=count))
    popularity_M *= np.where(accounts.is_spam_A[account_M], _SPAM_BOOST, 1.0)
    oldest_ms = config.start_ms - _MEDIA_AGES * config.days * DAY_MS
    return Media(
        media_id_M=_sparse_ids(count, rng),
        account_M=account_M,
        topic_M=topic_M,
        vector_MD=unit(topics.vector_TD[topic_M] + noise_MD),
        quality_M=quality_M.astype(np.float32),
        popularity_M=popularity_M.astype(np.float32),
        duration_ms_M=np.exp(rng.normal(np.log(25_000), 0.8, size=count)).clip(3_000, 600_000).astype(np.int64),
        created_ms_M=rng.integers(oldest_ms, config.end_ms, size=count),
        score_M=_integrity_scores(accounts.is_spam_A[account_M], rng),
    )


def draw_follows(
    config: SimulationConfig, topics: Topics, accounts: Accounts, taste_UD: Float, rng: np.random.Generator
) -> Follows:
    """Whom everybody follows when the log starts: popular accounts in topics of their taste."""
    most = max(1, config.accounts // 10)
    wanted_U = np.exp(rng.normal(np.log(12), 0.8, size=config.users)).clip(1, most).astype(np.int64)
    user_X = np.repeat(np.arange(config.users), wanted_U)
    topic_X = draw_columns(topic_affinity(taste_UD, topics, sharpness=6.0)[user_X], rng)
    weight_A = np.where(accounts.is_spam_A, 0.0, accounts.popularity_A)  # nobody chooses spam
    account_X = GroupedSampler(weight_A, accounts.topic_A, config.topics).draw(topic_X, rng)
    pair_F = as_set((user_X * config.accounts + account_X)[account_X >= 0])
    return Follows(pair_F, np.zeros(len(pair_F), dtype=np.int64))


def _posters(config: SimulationConfig, rng: np.random.Generator) -> Int64:
    """The account of each medium: three for each account, the rest heavy-tailed."""
    share_A = rng.pareto(1.6, size=config.accounts) + 0.2
    share_A = np.minimum(share_A, 40 * share_A.mean())
    rest = rng.choice(config.accounts, size=config.media - 3 * config.accounts, p=share_A / share_A.sum())
    return rng.permutation(np.concatenate([np.tile(np.arange(config.accounts), 3), rest]))


def _integrity_scores(is_spam_M: NDArray[np.bool_], rng: np.random.Generator) -> Float:
    """A model's belief: mostly right, sometimes wrong either way, missing for one medium in fifty."""
    count = len(is_spam_M)
    score_M = np.where(is_spam_M, rng.beta(4.0, 2.0, size=count), rng.beta(1.1, 14.0, size=count))
    return np.where(rng.random(count) < 0.02, np.nan, score_M).astype(np.float32)


def _sparse_ids(count: int, rng: np.random.Generator) -> Int64:
    """Distinct positive ids with gaps, in no order: nobody should take an id for a row."""
    return rng.permutation(rng.choice(10 * count, size=count, replace=False)).astype(np.int64) + 1
