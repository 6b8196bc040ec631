"""Experts and towers: rows are independent, tasks are too."""

from __future__ import annotations

import torch

from training.models.experts import Expert, Towers


def test_an_expert_hears_a_row_and_not_its_batch() -> None:
    expert, input_NX = Expert(6, 8, 4), torch.randn(10, 6) * 100
    assert torch.allclose(expert(input_NX)[4:5], expert(input_NX[4:5]), atol=1e-6)


def test_an_expert_is_alive_for_almost_every_input() -> None:
    """Where a ReLU would be 0 for half of all inputs, Swish passes a gradient on."""
    input_NX = torch.randn(200, 6, requires_grad=True)
    Expert(6, 16, 8)(input_NX).square().sum().backward()
    assert input_NX.grad is not None
    assert (input_NX.grad.abs().sum(dim=1) > 1e-6).float().mean() > 0.99


def test_dropout_ends_with_training() -> None:
    expert, input_NX = Expert(6, 8, 4, dropout=0.5), torch.randn(10, 6)
    assert not torch.equal(expert(input_NX), expert(input_NX))
    assert torch.equal(expert.eval()(input_NX), expert(input_NX))


def test_each_tower_reads_its_own_mixture() -> None:
    towers, mixed = Towers(4, n_tasks=3, hidden=2), [torch.randn(5, 4) for _ in range(3)]
    other = [mixed[0], mixed[1] + 1, mixed[2]]
    assert (towers(mixed) != towers(other)).any(dim=0).tolist() == [False, True, False]


def test_the_bias_moves_the_logits_of_its_task() -> None:
    towers, mixed = Towers(4, n_tasks=2, hidden=2), [torch.randn(5, 4)] * 2
    before_NT = towers(mixed)
    towers.bias_T.data.copy_(torch.tensor([0.0, 3.0]))
    assert torch.allclose(towers(mixed) - before_NT, torch.tensor([0.0, 3.0]).expand(5, 2), atol=1e-6)
