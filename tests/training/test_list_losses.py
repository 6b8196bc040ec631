"""Losses of orders: where they are smallest, what they ignore, and that their gradients are theirs."""

from __future__ import annotations

from functools import partial
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.list_losses import (
    lambda_loss,
    membership,
    softmax_cross_entropy,
    top_set_cross_entropy,
    truncated_list_mle,
)

top_two = partial(truncated_list_mle, top=2)
lambda_rank = partial(lambda_loss, sizes=(1, 2, 3))
LOSSES: dict[str, partial[Tensor]] = {
    "top2": top_two,
    "full": partial(truncated_list_mle, top=99),
    "softmax": partial(softmax_cross_entropy, temperature=0.5),
    "lambda_rank": lambda_rank,
    "ndcg_loss2pp": partial(lambda_rank, mu=10.0),
    "pselect": partial(top_set_cross_entropy, top=2),
}
LISTWISE = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
NAN = float("nan")


def whole(teacher_BC: Tensor) -> Tensor:
    return torch.ones_like(teacher_BC, dtype=torch.bool)


def random_lists(lists: int = 4, places: int = 6, seed: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(lists, places, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


def gradient(loss: partial[Tensor], score_BC: Tensor, teacher_BC: Tensor, mask_BC: Tensor | None = None) -> Tensor:
    score_BC = score_BC.clone().requires_grad_()
    loss(score_BC, teacher_BC, whole(teacher_BC) if mask_BC is None else mask_BC).backward()  # type: ignore[no-untyped-call]
    assert score_BC.grad is not None
    return score_BC.grad


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
    assert gradient(partial(softmax_cross_entropy, temperature=0.5), z_BC / 0.5, teacher_BC).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["top2", "full", "lambda_rank", "ndcg_loss2pp"])
def test_losses_of_an_order_vanish_where_it_is_met_by_a_wide_margin(name: str) -> None:
    _, teacher_BC = random_lists()
    score_BC = 100.0 * teacher_BC.argsort(1).argsort(1).double()
    assert gradient(LOSSES[name], score_BC, teacher_BC).abs().max() < 1e-12
    assert float(LOSSES[name](score_BC, teacher_BC, whole(teacher_BC))) < 1e-12


def test_membership_has_no_gradient_at_its_own_logits() -> None:
    teacher_BC = torch.tensor([[5.0, 5.0, 5.0, 1.0, 1.0]], dtype=torch.float64)
    target_BC = membership(teacher_BC, whole(teacher_BC), (4,))
    assert target_BC.tolist() == [[1, 1, 1, 0.5, 0.5]]
    score_BC = torch.logit(target_BC, eps=1e-12)
    assert gradient(partial(top_set_cross_entropy, top=4), score_BC, teacher_BC).abs().max() < 1e-12


@LISTWISE
@settings(max_examples=25)
@given(st.permutations(range(6)), st.integers(0, 1_000))
def test_the_order_of_candidates_does_not_matter_even_with_ties(
    loss: partial[Tensor], order: list[int], seed: int
) -> None:
    score_BC, teacher_BC = random_lists(seed=seed)
    teacher_BC, place_C = teacher_BC.round(), torch.tensor(order)
    shuffled = score_BC[:, place_C], teacher_BC[:, place_C]
    assert torch.allclose(loss(score_BC, teacher_BC, whole(teacher_BC)), loss(*shuffled, whole(teacher_BC)))
    assert torch.allclose(gradient(loss, score_BC, teacher_BC)[:, place_C], gradient(loss, *shuffled))


@LISTWISE
@pytest.mark.parametrize("filler", [1e6, -1e6, NAN, float("inf")])
def test_padding_changes_neither_loss_nor_gradient(loss: partial[Tensor], filler: float) -> None:
    score_BC, teacher_BC = random_lists()
    junk = torch.full((4, 3), filler, dtype=torch.float64)
    padded = torch.cat([score_BC, junk], 1), torch.cat([teacher_BC, junk], 1)
    mask_BC = torch.cat([whole(teacher_BC), torch.zeros_like(junk, dtype=torch.bool)], 1)
    assert torch.allclose(loss(score_BC, teacher_BC, whole(teacher_BC)), loss(*padded, mask_BC))
    found_BC = gradient(loss, *padded, mask_BC)
    assert torch.allclose(found_BC[:, :6], gradient(loss, score_BC, teacher_BC))
    assert found_BC[:, 6:].eq(0).all()


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
    nothing = loss(score_BC, teacher_BC, mask_BC & False)
    assert nothing == 0
    assert torch.autograd.grad(nothing, score_BC)[0].eq(0).all()


@LISTWISE
def test_equal_scores_are_no_dead_end(loss: partial[Tensor]) -> None:
    teacher_BC = torch.tensor([[1.0, 4.0, 2.0, 3.0, 0.0]])
    moved_C = -gradient(loss, torch.zeros(1, 5), teacher_BC)[0]
    assert moved_C[[1, 3]].min() > moved_C[4]


@LISTWISE
@pytest.mark.parametrize("scale", [1e-30, 1e4])
def test_tiny_and_huge_scores_have_finite_gradients(loss: partial[Tensor], scale: float) -> None:
    score_BC, teacher_BC = (part.float() * scale for part in random_lists())
    assert torch.isfinite(gradient(loss, score_BC, teacher_BC)).all()


@pytest.mark.parametrize("name", ["top2", "lambda_rank", "ndcg_loss2pp", "softmax"])
def test_a_teacher_without_preference_is_met_by_equal_scores(name: str) -> None:
    assert gradient(LOSSES[name], torch.zeros(1, 5), torch.zeros(1, 5)).abs().max() < 1e-6


def test_the_order_below_the_cut_does_not_matter() -> None:
    score_BC, _ = random_lists(1, 4)
    teachers = torch.tensor([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 1.0, 2.0]])
    first, second = (top_two(score_BC, teacher[None], whole(score_BC)) for teacher in teachers)
    assert first == second


def test_list_mle_is_the_plackett_luce_likelihood() -> None:
    score_BC, teacher_BC = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[2.0, 3.0, 1.0]])
    first = torch.logsumexp(score_BC[0], 0) - score_BC[0, 1]
    second = torch.logsumexp(score_BC[0, [0, 2]], 0) - score_BC[0, 0]
    assert torch.allclose(top_two(score_BC, teacher_BC, whole(teacher_BC)), (first + second) / 2)


def test_lambda_loss_weighs_a_pair_by_what_its_swap_changes_in_ndcg() -> None:
    score_BC, teacher_BC = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 3.0, 2.0]])
    one, two, three = (1 / torch.log2(torch.tensor(rank + 1.0)) for rank in (1, 2, 3))
    ideal = 2 * one + two  # gains 0, 2, 1
    pairs = {(1, 0): 2 * (one - two), (1, 2): two - three, (2, 0): one - three}
    doubt = {pair: torch.nn.functional.softplus(score_BC[0, pair[1]] - score_BC[0, pair[0]]) for pair in pairs}
    expected = sum(pairs[pair] * doubt[pair] for pair in pairs) / ideal
    assert torch.allclose(lambda_loss(score_BC, teacher_BC, whole(teacher_BC), (1, 2)), torch.as_tensor(expected))
    # At a distance of one rank the step of the discount is from the first to the second place, at two to the third.
    steps = {(1, 0): 2 * (one - two), (1, 2): one - two, (2, 0): two - three}
    expected += 10 * sum(steps[pair] * doubt[pair] for pair in pairs) / ideal
    found = lambda_loss(score_BC, teacher_BC, whole(teacher_BC), (1, 2), mu=10)
    assert torch.allclose(found, torch.as_tensor(expected))


def test_membership_counts_the_sets_and_shares_them_among_ties() -> None:
    teacher_BC = torch.tensor([[5.0, 1.0, 4.0, 3.0, 3.0, 9.0], [1.0, 1.0, 1.0, 1.0, 7.0, 7.0]])
    mask_BC = torch.tensor([[True] * 5 + [False], [True] * 4 + [False] * 2])
    found_BC = membership(teacher_BC, mask_BC, (1, 3))
    assert found_BC.tolist() == [[2, 0, 1, 0.5, 0.5, 0], [1, 1, 1, 1, 0, 0]]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.lists(st.integers(0, 15), min_size=1, max_size=3))
def test_members_are_as_many_as_the_sets_have_room_for(teacher: list[int], sizes: list[int]) -> None:
    teacher_BC = torch.tensor([teacher], dtype=torch.float64)
    found = float(membership(teacher_BC, whole(teacher_BC), sizes).sum())
    assert found == pytest.approx(sum(min(size, len(teacher)) for size in sizes))
