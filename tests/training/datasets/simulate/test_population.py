"""The inhabitants: ids with gaps, heavy tails, a known share of spam, and an integrity model that errs."""

from __future__ import annotations

import numpy as np

from tests.training.datasets.simulate.conftest import Log


def test_ids_are_distinct_positive_and_in_no_order(log: Log) -> None:
    for ids in (log.world.media.media_id_M, log.world.accounts.account_id_A):
        assert len(np.unique(ids)) == len(ids)
        assert ids.min() > 0
        assert abs(np.corrcoef(ids, np.arange(len(ids)))[0, 1]) < 0.2


def test_every_account_posts_and_few_post_much(log: Log) -> None:
    count_A = np.bincount(log.world.media.account_M, minlength=log.world.config.accounts)
    assert count_A.min() >= 3
    assert np.sort(count_A)[-30:].sum() > 0.25 * count_A.sum()


def test_media_mostly_keep_to_the_topics_of_their_account(log: Log) -> None:
    accounts, media = log.world.accounts, log.world.media
    own = media.topic_M == accounts.topic_A[media.account_M]
    second = media.topic_M == accounts.second_topic_A[media.account_M]
    assert 0.65 < own.mean() < 0.85
    assert 0.88 < (own | second).mean() < 0.97


def test_a_quarter_of_the_media_is_posted_during_the_log_at_a_steady_rate(log: Log) -> None:
    config, created_ms_M = log.world.config, log.world.media.created_ms_M
    per_day = np.histogram(created_ms_M, bins=config.days, range=(config.start_ms, config.end_ms))[0]
    assert 0.22 < per_day.sum() / config.media < 0.28
    assert per_day.min() > 0.6 * per_day.mean()


def test_the_integrity_model_is_good_but_no_oracle(log: Log) -> None:
    spam_M = log.world.accounts.is_spam_A[log.world.media.account_M]
    score_M = log.world.media.score_M
    flagged_M = score_M > 0.2
    assert log.world.accounts.is_spam_A.sum() == 12
    assert np.isnan(score_M).any()
    assert flagged_M[spam_M].mean() > 0.9
    assert 0.01 < flagged_M[~spam_M].mean() < 0.15


def test_users_follow_accounts_of_their_taste_and_no_spam(log: Log) -> None:
    first_F = log.world.follows.pair_F[log.world.follows.since_ms_F == 0]
    user_F, account_F = first_F // log.world.config.accounts, first_F % log.world.config.accounts
    topic_FD = log.world.topics.vector_TD[log.world.accounts.topic_A[account_F]]
    match_F = np.einsum("fd,fd->f", log.world.users.taste_NUD[0, user_F], topic_FD)
    assert match_F.mean() > 0.4
    assert not log.world.accounts.is_spam_A[account_F].any()
    assert (np.bincount(user_F, minlength=log.world.config.users) > 0).all()
