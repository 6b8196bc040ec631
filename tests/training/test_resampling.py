"""Measures over resampled users: levels are those of the metrics, resamples are honest, differences are paired."""

from __future__ import annotations

import numpy as np
import pytest

from training import metrics
from training.resampling import Draws, Judge


def _impressions(n: int = 400, users: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    user_N = random.integers(0, users, n)
    score_N = random.integers(0, 30, n).astype(np.float32)  # many ties
    label_N = (random.random(n) < 0.2 + score_N / 60).astype(np.float32)
    return label_N, user_N, score_N


def test_levels_are_those_of_the_metrics() -> None:
    label_N, user_N, score_N = _impressions()
    judge, score_SN = Judge(label_N, Draws(user_N, 2)), np.stack([score_N, -score_N])
    auc, gauc = judge.auc(score_SN), judge.gauc(score_SN)
    assert auc.by_seed == pytest.approx([metrics.auc(label_N, each) for each in score_SN])
    assert gauc.by_seed == pytest.approx([metrics.gauc(label_N, each, user_N) for each in score_SN])
    assert auc.mean == pytest.approx(0.5)


def test_resamples_to_first_order_are_close_to_real_ones() -> None:
    label_N, user_N, score_N = _impressions(6_000, 300)
    judge = Judge(label_N, Draws(user_N, 200))
    exact, close = judge.auc(score_N[None]), judge.auc_at_once(score_N[None])
    assert close.mean == pytest.approx(exact.mean)
    assert np.abs(close.mean_R - exact.mean_R).max() < 0.1 * exact.mean_R.std()


def test_a_user_with_one_class_has_no_area() -> None:
    label_N, group_N = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    found_G = metrics.auc_of_groups(label_N, np.array([0.9, 0.1, 0.5, 0.4], dtype=np.float32), group_N, 2)
    assert found_G[0] == 1
    assert np.isnan(found_G[1])


def test_a_resample_counts_impressions_as_often_as_their_user_was_drawn() -> None:
    label_N, user_N, score_N = _impressions()
    judged = Judge(label_N, Draws(user_N, 1, seed=5)).auc(score_N[None])
    users = np.unique(user_N)
    times_G = np.random.default_rng(5).multinomial(len(users), np.full(len(users), 1 / len(users)))
    repeats_N = times_G[np.searchsorted(users, user_N)]
    assert judged.mean_R[0] == pytest.approx(metrics.auc(label_N.repeat(repeats_N), score_N.repeat(repeats_N)))


def test_a_model_has_no_lead_over_itself_and_a_better_one_has() -> None:
    label_N, user_N, score_N = _impressions()
    judge = Judge(label_N, Draws(user_N, 100))
    random_N = np.random.default_rng(0).random(len(label_N)).astype(np.float32)
    good, chance = judge.auc(score_N[None]), judge.auc(random_N[None])
    assert good.minus(good).low == good.minus(good).high == 0
    assert good.minus(chance).low > 0
    assert good.interval().low < good.mean < good.interval().high


def test_no_area_without_both_classes() -> None:
    judge = Judge(np.zeros(4, dtype=np.float32), Draws(np.arange(4), 3))
    score_SN = np.arange(4, dtype=np.float32)[None]
    assert np.isnan([judge.auc(score_SN).mean, judge.gauc(score_SN).mean, judge.gauc(score_SN).interval().low]).all()


def _repeated(draws: Draws, *columns: np.ndarray) -> list[np.ndarray]:
    """The impressions of the first resample: those of each user as often as the user was drawn."""
    times_N = draws.times_RG[0][draws.group_N]
    return [column.repeat(times_N) for column in columns]


def test_loss_and_calibration_of_a_resample_are_those_of_its_impressions() -> None:
    label_N, user_N, score_N = _impressions()
    probability_N = (0.05 + score_N / 60).astype(np.float32)
    draws = Draws(user_N, 1, seed=2)
    judge = Judge(label_N, draws)
    loss, ece = judge.log_loss(probability_N[None]), judge.ece(probability_N[None])
    assert loss.mean == pytest.approx(metrics.log_loss(label_N, probability_N))
    assert loss.mean_R[0] == pytest.approx(metrics.log_loss(*_repeated(draws, label_N, probability_N)))
    assert ece.mean == pytest.approx(metrics.expected_calibration_error(label_N, probability_N))


def test_the_interval_of_the_calibration_error_lies_around_it() -> None:
    label_N, user_N, score_N = _impressions(4_000, 200)
    found = Judge(label_N, Draws(user_N, 200)).ece((0.2 + score_N[None] / 60).astype(np.float32)).interval()
    assert 0 < found.low < found.mean < found.high


def test_ndcg_is_the_mean_over_lists_that_have_an_order_and_something_to_find() -> None:
    label_N = np.array([0, 1, 1, 0, 0, 0, 1], dtype=np.float32)
    score_N = np.array([3, 2, 1, 1, 2, 9, 1], dtype=np.float32)
    list_N = np.array([0, 0, 0, 1, 1, 2, 3])  # the second has no positive, the last two have one impression each
    found = Judge(label_N, Draws(np.array([0, 0, 0, 1, 1, 1, 2]), 50)).ndcg(score_N[None], list_N, 10)
    alone = metrics.ndcg_at_k(label_N[None, :3], score_N[None, :3], 10)[0]
    assert found.mean == pytest.approx(alone)
    assert {round(value, 6) for value in found.mean_R if not np.isnan(value)} == {round(alone, 6)}
    assert np.isnan(found.mean_R).any()  # resamples without the only user who has such a list


@pytest.mark.parametrize("measure", ["auc", "auc_at_once", "gauc", "log_loss", "ece"])
def test_differences_are_of_the_same_draws(measure: str) -> None:
    label_N, user_N, score_N = _impressions()
    judge, probability_SN = Judge(label_N, Draws(user_N, 40)), (score_N / 30)[None].astype(np.float32)
    one, same = getattr(judge, measure)(probability_SN), getattr(judge, measure)(probability_SN.copy())
    assert (one.minus(same).mean, one.minus(same).low, one.minus(same).high) == (0, 0, 0)


def test_nothing_is_undefined_quietly() -> None:
    nothing = np.empty(0, dtype=np.float32)
    judge = Judge(nothing, Draws(np.empty(0, dtype=np.int64), 3))
    found = [
        judge.auc(nothing[None]),
        judge.auc_at_once(nothing[None]),
        judge.gauc(nothing[None]),
        judge.log_loss(nothing[None]),
        judge.ece(nothing[None]),
    ]
    assert all(np.isnan([one.mean, one.interval().low]).all() for one in found)
