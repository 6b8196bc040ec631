"""Target attention: what a user did before, weighted by how much it says about one candidate.

Shapes: B users, N candidates of all users, L history slots, K item embedding, D projected item, A action codes, H hidden units,
X = D + A + 1, the width of a slot.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from features.actions import N_ACTIONS

_AGE_SCALE = 0.2  # ages come as log(1 + hours): about 0 to 7


class TargetAttention(nn.Module):
    """DIN (Zhou et al. 2018, section 4.3): weights from an MLP on [q, k, q * k] and on the action and age of the slot.

    Candidates and history share one projection, so that q * k is large for items that are alike from the first step on. Weights
    are a softmax over the filled slots and one empty slot of logit 0 and value 0. So an empty history gives zeros without a
    special case, and a history that has nothing to do with the candidate need not speak. Per candidate remain one gather and two
    products; all else happens once per user.
    """

    def __init__(self, item_width: int, width: int = 32, hidden: int = 16) -> None:
        super().__init__()
        self.output_width = 2 * width + N_ACTIONS + 1
        self.item = nn.Linear(item_width, width)
        self.query = nn.Linear(width, hidden)
        # Positive on average: every hidden unit starts as a noisy dot product of candidate and slot.
        self.product_DH = nn.Parameter((1 + torch.randn(width, hidden)) / width**0.5)
        self.slot_XH = nn.Parameter(torch.randn(width + N_ACTIONS + 1, hidden) / width**0.5)
        self.score = nn.Linear(hidden, 1)

    def forward(
        self,
        item_NK: Tensor,
        history_BLK: Tensor,
        history_action_BL: Tensor,
        history_age_BL: Tensor,
        user_N: Tensor | None = None,
    ) -> Tensor:
        """What the history of user `user_N` says about each candidate, [N, output_width]; empty slots (action 0) count nothing.

        Without `user_N`, every candidate has a history of its own: B = N. The parts are the weighted mean item, its product with
        the candidate, the weight that went to each action, the mean age.
        """
        action_BLA = history_action_BL.unsqueeze(2) == torch.arange(N_ACTIONS)
        age_BL1 = history_age_BL.unsqueeze(2) * _AGE_SCALE
        slot_BLX = torch.cat([self.item(history_BLK), action_BLA.to(age_BL1.dtype), age_BL1], dim=2)
        filled_BL = history_action_BL > 0
        slot_NLX = slot_BLX if user_N is None else slot_BLX.index_select(0, user_N)
        filled_NL = filled_BL if user_N is None else filled_BL.index_select(0, user_N)
        query_ND = self.item(item_NK)
        weight_NL = self._weights(query_ND, slot_NLX, filled_NL)
        spoken_NX = torch.bmm(weight_NL.unsqueeze(1), slot_NLX).squeeze(1)
        return torch.cat([spoken_NX, spoken_NX[:, : query_ND.shape[1]] * query_ND], dim=1)

    def _weights(self, query_ND: Tensor, slot_NLX: Tensor, filled_NL: Tensor) -> Tensor:
        # (q * k) P + s S = s ([q * P; 0] + S): the weights are folded per candidate, not applied per candidate and slot.
        product_NDH = query_ND.unsqueeze(2) * self.product_DH
        beside = self.slot_XH.shape[0] - self.product_DH.shape[0]
        fold_NXH = nn.functional.pad(product_NDH, (0, 0, 0, beside)) + self.slot_XH
        hidden_NLH = torch.relu(torch.bmm(slot_NLX, fold_NXH) + self.query(query_ND).unsqueeze(1))
        logit_NL = torch.where(filled_NL, self.score(hidden_NLH).squeeze(2), float("-inf"))
        with_empty = torch.cat([logit_NL, torch.zeros_like(logit_NL[:, :1])], dim=1)
        return torch.softmax(with_empty, dim=1)[:, :-1]
