"""What the rankers minimise: cross-entropy per task. Pure functions of tensors; what the student minimises is in `list_losses.py`.

Shapes: N rows, T tasks.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def multi_task_loss(
    logit_NT: Tensor, label_NT: Tensor, soft_NT: Tensor | None = None, soft_weight: float = 0.0
) -> Tensor:
    """Mean binary cross-entropy over rows and tasks; with `soft_NT` a share of it is against a teacher's probabilities.

    Cross-entropy is linear in its target, so mixing losses is mixing targets.
    """
    target_NT = label_NT if soft_NT is None else (1 - soft_weight) * label_NT + soft_weight * soft_NT
    return binary_cross_entropy_with_logits(logit_NT, target_NT)
