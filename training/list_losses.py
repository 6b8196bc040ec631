"""What the student minimises: losses of an order over whole lists. Pure functions of tensors; know neither networks nor slates.

Shapes: B lists, C places in the longest list, K places that count. `mask_BC` is true where a list has an item; what stands in the
other places changes nothing. All depend on the teacher's order alone or on its z-scores, and on no order among its ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

# Stands in for minus infinity, whose gradient through logcumsumexp is NaN; exp() of it is exactly 0.
_ABSENT = -1e9


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


def membership(teacher_BC: Tensor, mask_BC: Tensor, sizes: Sequence[int]) -> Tensor:
    """In how many of the teacher's first `sizes` each item is, [B, C]; 0 where there is none.

    Items that the teacher ties across a bound share what a shuffled order would give them on average.
    """
    ranked_BC, order_BC = torch.where(mask_BC, teacher_BC, float("-inf")).sort(dim=1, descending=True, stable=True)
    place_C = torch.arange(ranked_BC.shape[1], device=ranked_BC.device)
    sets_C = sum((place_C < size for size in sizes), torch.zeros(len(place_C), device=ranked_BC.device))
    before_C = torch.cat([sets_C.new_zeros(1), sets_C.cumsum(0)])  # whole numbers: exact in float32
    first_BC = torch.searchsorted(-ranked_BC, -ranked_BC, side="left")
    end_BC = torch.searchsorted(-ranked_BC, -ranked_BC, side="right").minimum(mask_BC.sum(dim=1, keepdim=True))
    mean_BC = (before_C[end_BC] - before_C[first_BC]) / (end_BC - first_BC).clamp(min=1)
    found_BC = torch.zeros_like(mean_BC).scatter(1, order_BC, mean_BC)
    return torch.where(mask_BC, found_BC, 0.0).to(teacher_BC.dtype)


def lambda_loss(score_BC: Tensor, teacher_BC: Tensor, mask_BC: Tensor, sizes: Sequence[int], mu: float = 0.0) -> Tensor:
    """Logistic loss of every pair that the teacher's gains order, weighted by what it means for NDCG; mean over lists.

    Gains are `membership` in `sizes` over the best possible DCG. A pair weighs |gain difference| x (rho + mu x delta) of Wang et
    al. (CIKM 2018): rho, the difference of the discounts at the student's present ranks, is LambdaRank and alone when mu = 0;
    delta, the step of the discount at the ranks' distance, makes it NDCG-Loss2++. Ranks are of the whole list and nothing is cut
    off, since an item that is stuck below a cut would get no gradient. Weights are constants: no gradient flows through ranks.
    """
    gain_BC = membership(teacher_BC, mask_BC, sizes)
    with torch.no_grad():
        rank_BC = _ranks(score_BC, gain_BC, mask_BC)
        ideal_BC = gain_BC.sort(dim=1, descending=True).values
        best_B1 = (ideal_BC * _discount(torch.arange(1, ideal_BC.shape[1] + 1))).sum(dim=1, keepdim=True)
        share_BC = gain_BC / best_B1.clamp(min=1e-9)
        # Only what has a gain is ever the better one of a pair: a fraction of all pairs.
        better_K = int((gain_BC > 0).sum(dim=1).max()) if gain_BC.numel() else 0
        better_BK = gain_BC.topk(better_K, dim=1).indices
        worth_BKC = (share_BC.gather(1, better_BK)[:, :, None] - share_BC[:, None, :]).clamp(min=0)
        weight_BKC = worth_BKC * _pair_weight(rank_BC.gather(1, better_BK)[:, :, None], rank_BC[:, None, :], mu)
        weight_BKC *= mask_BC[:, None, :]
    score_BC = torch.where(mask_BC, score_BC, 0.0)
    doubt_BKC = softplus(score_BC[:, None, :] - score_BC.gather(1, better_BK)[:, :, None])
    return (weight_BKC * doubt_BKC).sum() / mask_BC.any(dim=1).sum().clamp(min=1)


def top_set_cross_entropy(score_BC: Tensor, teacher_BC: Tensor, mask_BC: Tensor, top: int) -> Tensor:
    """Binary cross-entropy of "in the teacher's first `top`", mean over places, then lists.

    The score becomes a logit of that membership, which Instagram calls PSelect (2023).
    """
    target_BC = membership(teacher_BC, mask_BC, (top,))
    score_BC = torch.where(mask_BC, score_BC, 0.0)
    return _mean_of_lists(binary_cross_entropy_with_logits(score_BC, target_BC, reduction="none"), mask_BC)


def _ranks(score_BC: Tensor, gain_BC: Tensor, mask_BC: Tensor) -> Tensor:
    """Places from 1 by the student's order. Of equal scores the smaller gain comes first: a tie is not yet an achievement."""
    by_gain_BC = torch.where(mask_BC, gain_BC, float("inf")).argsort(dim=1, stable=True)
    score_BC = torch.where(mask_BC, score_BC, float("-inf")).gather(1, by_gain_BC)
    order_BC = by_gain_BC.gather(1, score_BC.argsort(dim=1, descending=True, stable=True))
    places_BC = torch.arange(1, score_BC.shape[1] + 1).expand_as(order_BC)
    return torch.empty_like(order_BC).scatter(1, order_BC, places_BC)


def _pair_weight(rank_BK1: Tensor, rank_B1C: Tensor, mu: float) -> Tensor:
    rho_BKC = (_discount(rank_BK1) - _discount(rank_B1C)).abs()
    if mu == 0:
        return rho_BKC
    step_C = _discount(torch.arange(1, rank_B1C.shape[2] + 1)) - _discount(torch.arange(2, rank_B1C.shape[2] + 2))
    step_C = torch.cat([step_C.new_zeros(1), step_C])  # an item has no distance to itself, and no pair with it
    return rho_BKC + mu * step_C[(rank_BK1 - rank_B1C).abs()]


def _discount(rank: Tensor) -> Tensor:
    return math.log(2) / torch.log1p(rank.to(torch.get_default_dtype()))


def _mean_of_lists(value_BC: Tensor, counted_BC: Tensor) -> Tensor:
    count_B = counted_BC.sum(dim=1)
    per_list_B = torch.where(counted_BC, value_BC, 0.0).sum(dim=1) / count_B.clamp(min=1)
    return per_list_B.sum() / (count_B > 0).sum().clamp(min=1)
