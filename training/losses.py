"""What the networks minimise: cross-entropy per task, and listwise losses for the student. Pure functions of tensors.

Shapes: N rows, T tasks, B lists, C places in the longest list. `mask_BC` is true where a list has an item; what stands in the
other places changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

# Stands in for minus infinity, whose gradient through logcumsumexp is NaN; exp() of it is exactly 0.
_ABSENT = -1e9


def multi_task_loss(
    logit_NT: Tensor, label_NT: Tensor, soft_NT: Tensor | None = None, soft_weight: float = 0.0
) -> Tensor:
    """Mean binary cross-entropy over rows and tasks; with `soft_NT` a share of it is against a teacher's probabilities.

    Cross-entropy is linear in its target, so mixing losses is mixing targets.
    """
    target_NT = label_NT if soft_NT is None else (1 - soft_weight) * label_NT + soft_weight * soft_NT
    return binary_cross_entropy_with_logits(logit_NT, target_NT)


def truncated_list_mle(score_BC: Tensor, teacher_BC: Tensor, mask_BC: Tensor, top: int) -> Tensor:
    """Plackett-Luce likelihood of the first `top` places of the teacher's order, mean over places, then lists.

    ListMLE (Xia et al., ICML 2008) cut off at `top`, since the order of what the funnel drops is of no use (algorithms.md,
    section 6). Items that the teacher ties share one denominator, as in Breslow's partial likelihood, and all that tie with the
    last place count: so no loss depends on the order in which candidates happen to arrive.
    """
    ranked_BC, order_BC = torch.where(mask_BC, teacher_BC, float("-inf")).sort(dim=1, descending=True, stable=True)
    present_BC = mask_BC.gather(1, order_BC)
    student_BC = torch.where(present_BC, score_BC.gather(1, order_BC), _ABSENT)
    remaining_BC = student_BC.flip(1).logcumsumexp(dim=1).flip(1)
    # The first place of a tied group is the number of items that the teacher puts strictly above it.
    first_BC = torch.searchsorted(-ranked_BC, -ranked_BC, side="left")
    surprise_BC = remaining_BC.gather(1, first_BC) - student_BC
    last_place = min(top, ranked_BC.shape[1]) - 1
    counted_BC = present_BC & (ranked_BC >= ranked_BC[:, last_place : last_place + 1])
    return _mean_of_lists(surprise_BC, counted_BC)


def softmax_cross_entropy(score_BC: Tensor, teacher_BC: Tensor, mask_BC: Tensor, temperature: float = 0.5) -> Tensor:
    """ListNet on the z-scored teacher: cross-entropy of softmax(score) against softmax(z / temperature), mean over lists."""
    count_B1 = mask_BC.sum(dim=1, keepdim=True).clamp(min=1)
    teacher_BC = torch.where(mask_BC, teacher_BC, 0.0)
    centred_BC = torch.where(mask_BC, teacher_BC - teacher_BC.sum(dim=1, keepdim=True) / count_B1, 0.0)
    spread_B1 = (centred_BC.square().sum(dim=1, keepdim=True) / count_B1).sqrt().clamp(min=1e-9)
    target_BC = torch.softmax(torch.where(mask_BC, centred_BC / spread_B1 / temperature, _ABSENT), dim=1)
    log_score_BC = torch.log_softmax(torch.where(mask_BC, score_BC, _ABSENT), dim=1)
    per_list_B = -torch.where(mask_BC, target_BC * log_score_BC, 0.0).sum(dim=1)
    filled_B = mask_BC.any(dim=1)
    return per_list_B[filled_B].sum() / filled_B.sum().clamp(min=1)


def _mean_of_lists(value_BC: Tensor, counted_BC: Tensor) -> Tensor:
    count_B = counted_BC.sum(dim=1)
    per_list_B = torch.where(counted_BC, value_BC, 0.0).sum(dim=1) / count_B.clamp(min=1)
    return per_list_B.sum() / (count_B > 0).sum().clamp(min=1)
