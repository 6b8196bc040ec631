"""The mixture of experts: gates are weights, rows are independent."""

from __future__ import annotations

import torch

from training.models.mmoe import MixtureOfExperts


def test_every_gate_sums_to_one() -> None:
    mixture = MixtureOfExperts(width=6, n_tasks=3)
    assert torch.allclose(mixture.gate_NTE(torch.randn(10, 6)).sum(dim=2), torch.ones(10, 3))


def test_a_row_does_not_depend_on_the_rest_of_its_batch() -> None:
    mixture, input_NX = MixtureOfExperts(width=6, n_tasks=3), torch.randn(10, 6)
    assert torch.allclose(mixture(input_NX)[4:5], mixture(input_NX[4:5]), atol=1e-6)


def test_no_rows_give_no_logits() -> None:
    assert MixtureOfExperts(width=6, n_tasks=3)(torch.zeros(0, 6)).shape == (0, 3)
