"""Owners of accounts and policy flags: as many as promised, where they belong, and without effect on anything else."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from tests.training.datasets.simulate.conftest import Log
from training.datasets.simulate import SimulationConfig
from training.datasets.simulate.platform import NOBODY, POLICY_FLAGS, draw_platform
from training.datasets.simulate.run import create_world


def test_half_of_the_accounts_have_one_owner_each(log: Log) -> None:
    owned = log.dataset.users["account_id"].drop_nulls()
    assert len(owned) == owned.n_unique() == 150
    assert owned.is_in(log.dataset.media["author_id"].unique().implode()).all()


def test_nobody_owns_spam_and_owners_like_the_topic_of_their_account(log: Log) -> None:
    world = log.world
    account_of = {int(account): row for row, account in enumerate(world.accounts.account_id_A)}
    owners = log.dataset.users.with_row_index("row").drop_nulls("account_id")
    user_C = owners["row"].to_numpy()
    account_C = np.array([account_of[account] for account in owners["account_id"]])
    assert not world.accounts.is_spam_A[account_C].any()
    topic_CD = world.topics.vector_TD[world.accounts.topic_A[account_C]]
    assert np.einsum("cd,cd->c", world.users.taste_NUD[0, user_C], topic_CD).mean() > 0.3


def test_a_few_media_are_flagged_and_most_of_them_look_bad(log: Log) -> None:
    media = log.dataset.media.with_columns(
        flagged=pl.col("policy_flags").list.len() > 0,
        spam=pl.Series(log.world.accounts.is_spam_A[log.world.media.account_M]),
    )
    assert media["policy_flags"].null_count() == 0
    assert set(media["policy_flags"].explode().drop_nulls()) == set(POLICY_FLAGS)
    assert 0.02 < media["flagged"].to_numpy().mean() < 0.08
    score = {part: media.filter(pl.col("flagged") == part)["non_recommendable_score"].mean() for part in (True, False)}
    assert score[True] > 2 * score[False]  # type: ignore[operator]
    unoriginal = media.with_columns(pl.col("policy_flags").list.contains("unoriginal"))
    share = {
        part: unoriginal.filter(pl.col("spam") == part)["policy_flags"].to_numpy().mean() for part in (True, False)
    }
    assert share[True] > 10 * share[False]


@pytest.mark.parametrize(
    ("users", "spam_share", "owned"), [(60, 0.0, 10), (3, 0.0, 3), (60, 0.5, 10)], ids=["usual", "few users", "spam"]
)
def test_small_worlds_have_as_many_owners_as_they_can(
    village: SimulationConfig, users: int, spam_share: float, owned: int
) -> None:
    world = create_world(dataclasses.replace(village, users=users, spam_share=spam_share))
    account_U = draw_platform(world, *(np.random.default_rng(seed) for seed in (1, 2))).account_U
    assert (account_U != NOBODY).sum() == owned
    assert len(set(account_U[account_U != NOBODY].tolist())) == owned
