"""Target attention: slots are a set, padding is nothing, users do not see each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.models.attention import TargetAttention

B, N, L, K = 3, 7, 6, 5
USER_N = torch.tensor([0, 0, 1, 1, 1, 2, 2])


@pytest.fixture(name="attention")
def _attention() -> TargetAttention:
    torch.manual_seed(0)
    return TargetAttention(K).eval()


@pytest.fixture(name="history")
def _history() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    action_BL = torch.randint(1, 12, (B, L))
    action_BL[:, :2] = 0
    return torch.randn(B, L, K), action_BL, torch.rand(B, L)


def test_the_order_of_slots_does_not_matter(attention: TargetAttention, history: tuple[Tensor, Tensor, Tensor]) -> None:
    item_NK, place_L = torch.randn(N, K), torch.randperm(L)
    shuffled = [part[:, place_L] for part in history]
    assert torch.allclose(attention(item_NK, *history, USER_N), attention(item_NK, *shuffled, USER_N), atol=1e-6)


def test_what_stands_in_an_empty_slot_does_not_matter(
    attention: TargetAttention, history: tuple[Tensor, Tensor, Tensor]
) -> None:
    item_NK, (vector_BLK, action_BL, age_BL) = torch.randn(N, K), history
    noisy_BLK = torch.where((action_BL == 0).unsqueeze(2), 1e3, vector_BLK)
    expected = attention(item_NK, *history, USER_N)
    assert torch.equal(attention(item_NK, noisy_BLK, action_BL, age_BL, USER_N), expected)


def test_leaving_out_empty_slots_changes_nothing(
    attention: TargetAttention, history: tuple[Tensor, Tensor, Tensor]
) -> None:
    item_NK, short = torch.randn(N, K), [part[:, 2:] for part in history]
    assert torch.allclose(attention(item_NK, *history, USER_N), attention(item_NK, *short, USER_N), atol=1e-6)


def test_an_empty_history_gives_zeros(attention: TargetAttention) -> None:
    empty = torch.zeros(1, L, K), torch.zeros(1, L, dtype=torch.int64), torch.zeros(1, L)
    assert not attention(torch.randn(2, K), *empty, torch.tensor([0, 0])).any()


def test_a_batch_equals_its_users_one_by_one(
    attention: TargetAttention, history: tuple[Tensor, Tensor, Tensor]
) -> None:
    item_NK = torch.randn(N, K)
    together = attention(item_NK, *history, USER_N)
    for user in range(B):
        mine_N = user == USER_N
        alone = attention(item_NK[mine_N], *(part[user : user + 1] for part in history), USER_N[mine_N] * 0)
        assert torch.allclose(together[mine_N], alone, atol=1e-6)


def test_histories_of_candidates_are_those_of_users_of_one_candidate(
    attention: TargetAttention, history: tuple[Tensor, Tensor, Tensor]
) -> None:
    item_BK = torch.randn(B, K)
    assert torch.equal(attention(item_BK, *history), attention(item_BK, *history, torch.arange(B)))
