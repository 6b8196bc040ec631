"""A logistic regression beside a network: fitted by itself, to its optimum, and mixed with the network's logits afterwards.

Shapes: N rows, X network inputs, T tasks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

L2 = 1e-4  # of the squared weights, beside the mean cross-entropy of each task
_STEPS = 100  # of L-BFGS
_SHARES = torch.linspace(0, 1, 21)


class LogisticRegression(nn.Module):
    """[N, X] to logits [N, T]. Tasks share nothing: it is one regression per task."""

    weight_XT: Tensor
    bias_T: Tensor

    def __init__(self, width: int, n_tasks: int) -> None:
        super().__init__()
        # Buffers, as no step of the network's training may move them.
        self.register_buffer("weight_XT", torch.zeros(width, n_tasks))
        self.register_buffer("bias_T", torch.zeros(n_tasks))

    def forward(self, input_NX: Tensor) -> Tensor:
        """Logits [N, T]."""
        return input_NX @ self.weight_XT + self.bias_T

    def fit(self, input_NX: Tensor, label_NT: Tensor) -> None:
        """Finds the optimum with L-BFGS, from zeros. Labels lie in [0, 1]."""
        weight_XT = torch.zeros_like(self.weight_XT).requires_grad_()
        bias_T = torch.zeros_like(self.bias_T).requires_grad_()
        optimiser = torch.optim.LBFGS([weight_XT, bias_T], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss_NT = binary_cross_entropy_with_logits(input_NX @ weight_XT + bias_T, label_NT, reduction="none")
            loss = loss_NT.mean(dim=0).sum() + L2 * weight_XT.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        self.weight_XT.copy_(weight_XT.detach())
        self.bias_T.copy_(bias_T.detach())


class Blend(nn.Module):
    """`share` of a regression's logits in a network's. It starts with none: the network trains as if it were alone."""

    share: Tensor

    def __init__(self, width: int, n_tasks: int) -> None:
        super().__init__()
        self.regression = LogisticRegression(width, n_tasks)
        self.register_buffer("share", torch.zeros(()))

    def forward(self, logit_NT: Tensor, input_NX: Tensor) -> Tensor:
        """Mixed logits [N, T]. `input_NX`: what the regression reads, `logit_NT`: what the network says."""
        return logit_NT + self.share * (self.regression(input_NX) - logit_NT)

    def choose(
        self, logit_NT: NDArray[np.float32], input_NX: Tensor, label_NT: NDArray[np.float32], prior_T: Tensor
    ) -> None:
        """Takes the share, one for all tasks, with the least cross-entropy on rows that neither part was fitted to.

        `prior_T` is what sampling took from the logits of both parts, where these rows are not sampled.
        """
        ours_NT, theirs_NT = torch.from_numpy(logit_NT) + prior_T, self.regression(input_NX) + prior_T
        label = torch.from_numpy(label_NT)
        losses = [binary_cross_entropy_with_logits(torch.lerp(ours_NT, theirs_NT, float(s)), label) for s in _SHARES]
        self.share.copy_(_SHARES[int(torch.stack(losses).argmin())])
