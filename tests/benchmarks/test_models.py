"""The own arithmetic of the baselines in benchmarks/models.py."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import torch

from benchmarks.models import _judge
from benchmarks.models_baselines import FactorisationMachine, best_of_epochs, logistic_regression
from benchmarks.models_rows import Rows
from benchmarks.models_runs import Run
from tests.training.models.worlds import item_table, ranking_set
from training import metrics
from training.rankers import RerankConfig
from training.resampling import Draws


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


def test_models_are_asked_about_the_test_rows_and_then_with_frozen_histories() -> None:
    train, valid, test = (ranking_set(n, seed) for seed, n in enumerate((30, 20, 10)))
    frozen = replace(test, dense_NF=-test.dense_NF)
    bare = Rows(train, valid, test, item_table(), RerankConfig(min_positives=1))
    rows = replace(bare, frozen=frozen)
    test_NF = rows.dense(test)
    assert np.array_equal(bare.asked(bare.dense), test_NF, equal_nan=True)
    assert np.array_equal(rows.asked(rows.dense), np.concatenate([test_NF, -test_NF]), equal_nan=True)
    assert [len(found_NF) for found_NF in rows.inputs(rows.dense)] == [len(train), len(valid), 2 * len(test)]
    probability_NT = logistic_regression(rows, 1)
    assert np.allclose(probability_NT[: len(test)], logistic_regression(bare, 1), atol=1e-6)
    swapped = replace(rows, test=frozen, frozen=test)
    assert np.allclose(np.roll(probability_NT, len(test), axis=0), logistic_regression(swapped, 1), atol=1e-6)


def test_gauc_is_judged_on_what_is_said_with_frozen_histories() -> None:
    test = ranking_set(200, 1)
    rows = Rows(test, test, test, item_table(), RerankConfig(min_positives=1), test)
    right_SNT = rows.labels(test)[None] + np.float32(0.5)
    run = Run(1 - right_SNT, right_SNT, (1.0,), 1, 1)
    auc, gauc = _judge(rows, 0, {"deep ranker": run}, Draws(test.user_N, 10))["deep ranker"]
    assert (auc.mean, gauc.mean) == (0, 1)


def test_a_network_keeps_what_it_predicted_in_its_best_epoch() -> None:
    random = np.random.default_rng(1)
    field_NC = random.integers(0, 4, (600, 2))
    label_NT = (field_NC[:, :1] > 1).astype(np.float32)
    inputs = [(torch.from_numpy(part),) for part in np.split(field_NC, 3)]
    torch.manual_seed(0)
    machine = FactorisationMachine((4, 4), tasks=1)
    labels = label_NT[:200], label_NT[200:400]
    found_NT = best_of_epochs(machine, inputs, labels, learning_rate=0.1, seed=1)
    assert metrics.auc(label_NT[400:, 0], found_NT[:, 0]) == 1
