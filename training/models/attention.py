"""Target attention: what a user did before, weighted by how much it says about one candidate.

Shapes: B users, N candidates of all users, L history slots, K item embedding, D attention width, H hidden units, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from features.actions import N_ACTIONS


class TargetAttention(nn.Module):
    """DIN (Zhou et al. 2018, section 4.3): weights from an MLP on [q, k, q * k], with learned action and age terms in the keys.

    Weights are a softmax over the filled slots and one empty slot of logit 0 and value 0. So an empty history gives zeros without
    a special case, and a history that has nothing to do with the candidate may give nearly zero instead of being forced to
    speak. All user-side work happens once per user; per candidate remain a gather and two products.
    """

    def __init__(self, item_width: int, width: int = 32, hidden: int = 16) -> None:
        super().__init__()
        self.width = width
        self.query = nn.Linear(item_width, width)
        self.key = nn.Linear(item_width, width, bias=False)
        self.action = nn.Embedding(N_ACTIONS, width)
        self.age = nn.Linear(1, width)
        self.score_query = nn.Linear(width, hidden)
        self.score_key = nn.Linear(width, hidden, bias=False)
        self.score_product = nn.Parameter(torch.randn(width, hidden) / width**0.5)
        self.score_out = nn.Linear(hidden, 1)
        nn.init.normal_(self.action.weight, std=0.3)

    def forward(
        self, item_NK: Tensor, history_BLK: Tensor, history_action_BL: Tensor, history_age_BL: Tensor, user_N: Tensor
    ) -> Tensor:
        """What the history of user `user_N` says about each candidate, [N, D]. Slots with action 0 count for nothing."""
        key_BLD = self.key(history_BLK) + self.action(history_action_BL) + self.age(history_age_BL.unsqueeze(2))
        key_NLD = key_BLD.index_select(0, user_N)
        query_ND = self.query(item_NK)
        # (q * k) W = k (q * W): the product with W is taken per candidate, not per candidate and slot.
        product_NLH = torch.bmm(key_NLD, query_ND.unsqueeze(2) * self.score_product)
        of_key_NLH = self.score_key(key_BLD).index_select(0, user_N)
        hidden_NLH = torch.relu(product_NLH + of_key_NLH + self.score_query(query_ND).unsqueeze(1))
        logit_NL = self.score_out(hidden_NLH).squeeze(2)
        filled_NL = (history_action_BL > 0).index_select(0, user_N)
        weight_NL = _softmax_with_empty_slot(logit_NL, filled_NL)
        return torch.bmm(weight_NL.unsqueeze(1), key_NLD).squeeze(1)


def _softmax_with_empty_slot(logit_NL: Tensor, filled_NL: Tensor) -> Tensor:
    masked_NL = torch.where(filled_NL, logit_NL, float("-inf"))
    with_empty = torch.cat([masked_NL, torch.zeros_like(logit_NL[:, :1])], dim=1)
    return torch.softmax(with_empty, dim=1)[:, :-1]
