"""What benchmarks/models.py judges by: AUCs over resampled users, and the baselines' own arithmetic."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from benchmarks.models_baselines import FactorisationMachine, best_of_epochs
from benchmarks.models_score import Judge, user_aucs
from training import metrics


def _impressions(n: int = 400, users: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    user_N = random.integers(0, users, n)
    score_N = random.integers(0, 30, n).astype(np.float32)  # many ties
    label_N = (random.random(n) < 0.2 + score_N / 60).astype(np.float32)
    return label_N, user_N, score_N


def test_levels_are_those_of_the_metrics() -> None:
    label_N, user_N, score_N = _impressions()
    judge, score_SN = Judge(label_N, user_N, resamples=2), np.stack([score_N, -score_N])
    auc, gauc = judge.auc(score_SN), judge.gauc(score_SN)
    assert auc.by_seed == pytest.approx([metrics.auc(label_N, each) for each in score_SN])
    assert gauc.by_seed == pytest.approx([metrics.gauc(label_N, each, user_N) for each in score_SN])
    assert auc.mean == pytest.approx(0.5)


def test_a_user_with_one_class_has_no_area() -> None:
    label_N, group_N = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    found_G = user_aucs(label_N, np.array([0.9, 0.1, 0.5, 0.4], dtype=np.float32), group_N, 2)
    assert found_G[0] == 1
    assert np.isnan(found_G[1])


def test_a_resample_counts_impressions_as_often_as_their_user_was_drawn() -> None:
    label_N, user_N, score_N = _impressions()
    judged = Judge(label_N, user_N, resamples=1, seed=5).auc(score_N[None])
    users = np.unique(user_N)
    times_G = np.random.default_rng(5).multinomial(len(users), np.full(len(users), 1 / len(users)))
    repeats_N = times_G[np.searchsorted(users, user_N)]
    assert judged.mean_R[0] == pytest.approx(metrics.auc(label_N.repeat(repeats_N), score_N.repeat(repeats_N)))


def test_a_model_has_no_lead_over_itself_and_a_better_one_has() -> None:
    label_N, user_N, score_N = _impressions()
    judge = Judge(label_N, user_N, resamples=100)
    random_N = np.random.default_rng(0).random(len(label_N)).astype(np.float32)
    good, chance = judge.auc(score_N[None]), judge.auc(random_N[None])
    assert good.minus(good).low == good.minus(good).high == 0
    assert good.minus(chance).low > 0
    assert good.interval().low < good.mean < good.interval().high


def test_no_area_without_both_classes() -> None:
    judge = Judge(np.zeros(4, dtype=np.float32), np.arange(4), resamples=3)
    score_SN = np.arange(4, dtype=np.float32)[None]
    assert np.isnan([judge.auc(score_SN).mean, judge.gauc(score_SN).mean, judge.gauc(score_SN).interval().low]).all()


def test_the_machine_sums_products_of_all_pairs_of_fields() -> None:
    torch.manual_seed(0)
    machine = FactorisationMachine((3, 2, 4), tasks=2, factors=5)
    torch.nn.init.normal_(machine.factor.weight)
    torch.nn.init.normal_(machine.weight.weight)
    slots = (2, 3 + 1, 5 + 3)
    found_T = machine(torch.tensor([[2, 1, 3]]))[0]
    for task in range(2):
        factors = [machine.factor.weight[slot].reshape(2, 5)[task] for slot in slots]
        pairs = torch.stack([one @ other for one, other in combinations(factors, 2)]).sum()
        linear = torch.stack([machine.weight.weight[slot, task] for slot in slots]).sum()
        assert torch.isclose(found_T[task], linear + pairs, atol=1e-5)


def test_a_network_keeps_what_it_predicted_in_its_best_epoch() -> None:
    random = np.random.default_rng(1)
    field_NC = random.integers(0, 4, (600, 2))
    label_NT = (field_NC[:, :1] > 1).astype(np.float32)
    inputs = [(torch.from_numpy(part),) for part in np.split(field_NC, 3)]
    torch.manual_seed(0)
    machine = FactorisationMachine((4, 4), tasks=1)
    found_NT = best_of_epochs(machine, inputs, np.split(label_NT, 3), learning_rate=0.1, seed=1)
    assert metrics.auc(label_NT[400:, 0], found_NT[:, 0]) == 1
