"""Extraction: gates are weights, an expert of one task learns from that task only, no expert drowns out the others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from training.models.ple import Extraction, ProgressiveExtraction

N, X, T = 10, 6, 3


def extraction(hands_on: bool) -> Extraction:
    return Extraction(X, T, own=2, shared=3, hidden=8, expert=4, dropout=0.0, hands_on=hands_on)


@pytest.mark.parametrize("hands_on", [True, False])
def test_every_gate_sums_to_one(hands_on: bool) -> None:
    weights = extraction(hands_on).weights([torch.randn(N, X) * 30 for _ in range(T + 1)])
    assert [part.shape[1] for part in weights] == [5] * T + [T * 2 + 3] * hands_on
    assert all(torch.allclose(part.sum(dim=1), torch.ones(N)) for part in weights)


@pytest.mark.parametrize("hands_on", [True, False])
def test_a_level_makes_one_stream_per_task_and_hands_on_a_shared_one(hands_on: bool) -> None:
    streams = extraction(hands_on)([torch.randn(N, X)] * (T + 1))
    assert [tuple(stream.shape) for stream in streams] == [(N, 4)] * (T + hands_on)


def test_own_experts_learn_from_their_own_task_only() -> None:
    model = ProgressiveExtraction(X, T, own=2, shared=1)
    model(torch.randn(N, X))[:, 1].sum().backward()
    (level,) = model.levels
    assert isinstance(level, Extraction)
    reached = [any(_moved(weight) for weight in group.parameters()) for group in level.groups]
    assert reached == [False, True, False, True]


def test_a_second_level_passes_tasks_on_to_each_other_through_the_shared_stream() -> None:
    model = ProgressiveExtraction(X, T, levels=2)
    model(torch.randn(N, X))[:, 1].sum().backward()
    first = model.levels[0]
    assert isinstance(first, Extraction)
    assert all(_moved(weight) for group in first.groups for weight in list(group.parameters())[:1])


@pytest.mark.parametrize("levels", [1, 2])
def test_a_row_does_not_depend_on_the_rest_of_its_batch(levels: int) -> None:
    model, input_NX = ProgressiveExtraction(X, T, levels=levels), torch.randn(N, X)
    assert torch.allclose(model(input_NX)[4:5], model(input_NX[4:5]), atol=1e-6)


def test_no_rows_give_no_logits() -> None:
    assert ProgressiveExtraction(X, T, levels=2)(torch.zeros(0, X)).shape == (0, T)


def test_no_expert_drowns_out_the_others_after_training() -> None:
    torch.manual_seed(0)
    model, input_NX = ProgressiveExtraction(X, T, shared=2), torch.randn(2000, X)
    label_NT = (input_NX[:, :T] * input_NX[:, T:] + 0.3 * torch.randn(2000, T) > 0).float()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = binary_cross_entropy_with_logits(model(input_NX), label_NT)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    (level,) = model.levels
    assert isinstance(level, Extraction)
    weights: list[Tensor] = level.weights([input_NX] * (T + 1))
    assert losses[-1] < 0.6 * losses[0]
    assert max(float(part.mean(dim=0).max().detach()) for part in weights) < 0.9


def _moved(weight: Tensor) -> bool:
    return weight.grad is not None and bool(weight.grad.any())
