"""Losses: where they are smallest, what they ignore, and that their gradients are theirs."""

from __future__ import annotations

from functools import partial
from itertools import permutations

import pytest
import torch
from torch import Tensor

from training.losses import multi_task_loss, softmax_cross_entropy, truncated_list_mle

top_two = partial(truncated_list_mle, top=2)
full_list = partial(truncated_list_mle, top=99)
LISTWISE = pytest.mark.parametrize("loss", [top_two, full_list, softmax_cross_entropy], ids=["top2", "full", "softmax"])


def whole(teacher_BC: Tensor) -> Tensor:
    return torch.ones_like(teacher_BC, dtype=torch.bool)


def random_lists(lists: int = 4, places: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(lists, places, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@LISTWISE
def test_no_order_of_scores_is_better_than_the_teachers(loss: partial[Tensor]) -> None:
    teacher_BC = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    by_order = {
        order: float(loss(torch.tensor([order]), teacher_BC, whole(teacher_BC)))
        for order in permutations([4.0, 3.0, 2.0, 1.0])
    }
    assert min(by_order.values()) == by_order[4.0, 3.0, 2.0, 1.0]


def test_softmax_has_no_gradient_at_the_teacher() -> None:
    _, teacher_BC = random_lists()
    z_BC = (teacher_BC - teacher_BC.mean(1, keepdim=True)) / teacher_BC.std(1, keepdim=True, correction=0)
    score_BC = (z_BC / 0.5).requires_grad_()
    softmax_cross_entropy(score_BC, teacher_BC, whole(teacher_BC), temperature=0.5).backward()  # type: ignore[no-untyped-call]
    assert score_BC.grad is not None
    assert score_BC.grad.abs().max() < 1e-12


@LISTWISE
def test_the_order_of_candidates_does_not_matter_even_with_ties(loss: partial[Tensor]) -> None:
    score_BC, teacher_BC = random_lists()
    teacher_BC, place_C = teacher_BC.round(), torch.tensor([3, 1, 5, 0, 4, 2])
    shuffled = loss(score_BC[:, place_C], teacher_BC[:, place_C], whole(teacher_BC))
    assert torch.allclose(loss(score_BC, teacher_BC, whole(teacher_BC)), shuffled)


@LISTWISE
def test_padding_changes_neither_loss_nor_gradient(loss: partial[Tensor]) -> None:
    score_BC, teacher_BC = (part.requires_grad_(index == 0) for index, part in enumerate(random_lists()))
    junk = torch.full((4, 3), 1e6, dtype=torch.float64)
    padded = torch.cat([score_BC, junk], 1), torch.cat([teacher_BC, junk], 1)
    mask_BC = torch.cat([whole(teacher_BC), junk < 0], 1)
    plain, with_padding = loss(score_BC, teacher_BC, whole(teacher_BC)), loss(*padded, mask_BC)
    gradients = [torch.autograd.grad(value, score_BC)[0] for value in (plain, with_padding)]
    assert torch.allclose(plain, with_padding)
    assert torch.allclose(gradients[0], gradients[1])


@LISTWISE
def test_gradients_are_those_of_finite_differences(loss: partial[Tensor]) -> None:
    score_BC, teacher_BC = random_lists()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher_BC, whole(teacher_BC)), score_BC.requires_grad_())


@LISTWISE
def test_an_empty_list_counts_for_nothing(loss: partial[Tensor]) -> None:
    score_BC, teacher_BC = random_lists()
    mask_BC = whole(teacher_BC)
    mask_BC[0] = False
    expected = loss(score_BC[1:], teacher_BC[1:], mask_BC[1:])
    assert torch.allclose(loss(score_BC.requires_grad_(), teacher_BC, mask_BC), expected)
    assert loss(score_BC, teacher_BC, mask_BC & False) == 0


def test_the_order_below_the_cut_does_not_matter() -> None:
    score_BC, _ = random_lists(1, 4)
    teachers = torch.tensor([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 1.0, 2.0]])
    first, second = (top_two(score_BC, teacher[None], whole(score_BC)) for teacher in teachers)
    assert first == second


def test_a_teacher_without_preference_is_met_by_equal_scores() -> None:
    teacher_BC = torch.zeros(1, 5)
    score_BC = torch.zeros(1, 5, requires_grad=True)
    top_two(score_BC, teacher_BC, whole(teacher_BC)).backward()  # type: ignore[no-untyped-call]
    assert score_BC.grad is not None
    assert score_BC.grad.abs().max() < 1e-6


def test_list_mle_is_the_plackett_luce_likelihood() -> None:
    score_BC, teacher_BC = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[2.0, 3.0, 1.0]])
    first = torch.logsumexp(score_BC[0], 0) - score_BC[0, 1]
    second = torch.logsumexp(score_BC[0, [0, 2]], 0) - score_BC[0, 0]
    assert torch.allclose(top_two(score_BC, teacher_BC, whole(teacher_BC)), (first + second) / 2)


def test_soft_targets_mix_linearly_with_labels() -> None:
    logit_NT, label_NT, soft_NT = torch.randn(5, 2), torch.ones(5, 2), torch.full((5, 2), 0.3)
    mixed = multi_task_loss(logit_NT, label_NT, soft_NT, soft_weight=0.25)
    expected = 0.75 * multi_task_loss(logit_NT, label_NT) + 0.25 * multi_task_loss(logit_NT, soft_NT)
    assert torch.allclose(mixed, expected)
