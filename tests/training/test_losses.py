"""The rankers' loss: cross-entropy whose targets are labels, or labels mixed with what a teacher says."""

from __future__ import annotations

import torch

from training.losses import multi_task_loss


def test_soft_targets_mix_linearly_with_labels() -> None:
    logit_NT, label_NT, soft_NT = torch.randn(5, 2), torch.ones(5, 2), torch.full((5, 2), 0.3)
    mixed = multi_task_loss(logit_NT, label_NT, soft_NT, soft_weight=0.25)
    expected = 0.75 * multi_task_loss(logit_NT, label_NT) + 0.25 * multi_task_loss(logit_NT, soft_NT)
    assert torch.allclose(mixed, expected)
