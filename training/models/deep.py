"""The deep ranker of the rerank stage: dense features, id embeddings and the user's action sequence, several tasks at once.

Shapes: B users, N candidates of all users, F features, K item embedding, L history slots, S related slots, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from features.schema import Feature
from training.models.architecture import Architecture
from training.models.attention import TargetAttention
from training.models.percentile_input import InputKind, dense_input
from training.models.regression import Blend
from training.models.sparse_linear import SparseLinear

_DEFAULT = Architecture()
_RELATED_WIDTH = 16  # all slots have the candidate's topic already: less is left to tell them apart


class DeepRanker(nn.Module):
    """Target attention over the newest actions, and over the older ones that a search found for each candidate (SIM, Pi et al.
    2020), beside the dense features; then crosses and a mixture of experts, as `architecture` says.

    Users come once, not once per candidate; `user_N` says whose candidate a row is. Embeddings are inputs: their tables lie
    outside the graph (`training.models.id_embeddings`).
    """

    def __init__(
        self,
        features: Sequence[Feature],
        item_width: int,
        n_tasks: int,
        input_kind: InputKind = "standard",
        architecture: Architecture = _DEFAULT,
    ) -> None:
        super().__init__()
        self.dense = dense_input(input_kind, features)
        self.attention = TargetAttention(item_width)
        self.related = TargetAttention(item_width, _RELATED_WIDTH)
        width = self.dense.width + item_width + self.attention.output_width + self.related.output_width
        self.crosses = architecture.cross_layers(width)
        self.mixture = architecture.mix(getattr(self.crosses, "output_width", width), n_tasks)
        self.wide = SparseLinear(len(features), n_tasks) if architecture.wide else None
        self.blend = Blend(self.dense.width, n_tasks) if architecture.regression else None

    def forward(
        self,
        dense_NF: Tensor,
        item_NK: Tensor,
        history_BLK: Tensor,
        history_action_BL: Tensor,
        history_age_BL: Tensor,
        user_N: Tensor,
        related_NSK: Tensor,
        related_action_NS: Tensor,
        related_age_NS: Tensor,
    ) -> Tensor:
        """Logits [N, T]. Actions are int64 with 0 = empty slot, ages log(1 + hours)."""
        interest_ND = self.attention(item_NK, history_BLK, history_action_BL, history_age_BL, user_N)
        # What was found for a candidate is a history of its own.
        related_ND = self.related(item_NK, related_NSK, related_action_NS, related_age_NS)
        scaled_NI = self.dense(dense_NF)
        input_NX = torch.cat([scaled_NI, item_NK, interest_ND, related_ND], dim=1)
        logit_NT = self.mixture(self.crosses(input_NX))
        if self.wide is not None:
            logit_NT = logit_NT + self.wide(dense_NF)
        return logit_NT if self.blend is None else self.blend(logit_NT, scaled_NI)

    def start_at(self, logit_T: Tensor) -> None:
        """Sets the task biases, so that training starts from the base rates and not from one half."""
        self.mixture.towers.bias_T.data.copy_(logit_T)
