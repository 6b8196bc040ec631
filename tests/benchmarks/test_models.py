"""The own arithmetic of the baselines in benchmarks/models.py."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch

from benchmarks.models_baselines import FactorisationMachine, best_of_epochs
from training import metrics


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
