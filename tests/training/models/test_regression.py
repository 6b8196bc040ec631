"""The logistic regression beside a network: at its optimum, and mixed in for as much as it helps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from training.models.regression import L2, Blend, LogisticRegression

N, X, T = 4_000, 5, 2


def world(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs [N, X], labels [N, T] and the logits [N, T] that they were drawn from, which are linear."""
    rng = torch.Generator().manual_seed(seed)
    input_NX = torch.randn(N, X, generator=rng)
    logit_NT = input_NX @ torch.randn(X, T, generator=rng) + torch.tensor([-1.0, 0.5])
    return input_NX, torch.bernoulli(torch.sigmoid(logit_NT), generator=rng), logit_NT


def fitted(input_NX: torch.Tensor, label_NT: torch.Tensor) -> LogisticRegression:
    model = LogisticRegression(input_NX.shape[1], label_NT.shape[1])
    model.fit(input_NX, label_NT)
    return model


def blend(input_NX: torch.Tensor, label_NT: torch.Tensor) -> Blend:
    mixed = Blend(input_NX.shape[1], label_NT.shape[1])
    mixed.regression.fit(input_NX, label_NT)
    return mixed


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1_000))
def test_nothing_pulls_at_the_weights_of_the_optimum(seed: int) -> None:
    input_NX, label_NT, _ = world(seed)
    model = fitted(input_NX, label_NT)
    weight_XT, bias_T = model.weight_XT.clone().requires_grad_(), model.bias_T.clone().requires_grad_()
    logit_NT = input_NX @ weight_XT + bias_T
    loss = binary_cross_entropy_with_logits(logit_NT, label_NT, reduction="none").mean(dim=0).sum()
    (loss + L2 * weight_XT.square().sum()).backward()  # type: ignore[no-untyped-call]
    assert weight_XT.grad is not None
    assert bias_T.grad is not None
    assert weight_XT.grad.abs().max() < 1e-3
    assert bias_T.grad.abs().max() < 1e-3


def test_without_inputs_it_says_the_rate() -> None:
    model = fitted(torch.zeros(10, X), torch.tensor([[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 8))
    assert torch.allclose(model(torch.zeros(1, X)), torch.tensor([[math.log(0.25), math.log(4.0)]]), atol=1e-3)


def test_labels_that_a_plane_parts_still_have_finite_weights() -> None:
    input_NX = torch.linspace(-1, 1, 200).unsqueeze(1)
    model = fitted(input_NX, (input_NX > 0).float())
    assert model.weight_XT.isfinite().all()
    assert model.weight_XT[0, 0] > 5


def test_no_step_of_a_training_moves_it() -> None:
    assert list(Blend(X, T).parameters()) == []
    assert {"share", "regression.weight_XT", "regression.bias_T"} == set(Blend(X, T).state_dict())


def test_before_a_choice_the_network_is_alone() -> None:
    input_NX, label_NT, _ = world()
    logit_NT = torch.randn(N, T)
    assert torch.equal(blend(input_NX, label_NT)(logit_NT, input_NX), logit_NT)


@pytest.mark.parametrize(
    ("network", "least", "most"),
    [("noise", 0.9, 1.0), ("the truth", 0.0, 0.1), ("as good, with other errors", 0.3, 0.7)],
)
def test_the_share_is_what_helps(network: str, least: float, most: float) -> None:
    input_NX, label_NT, logit_NT = world()
    rng = torch.Generator().manual_seed(9)
    mixed = blend(input_NX, label_NT)
    if network == "noise":
        theirs_NT = torch.randn(N, T, generator=rng)
    elif network == "the truth":
        # Half of what decides is hidden from the regression.
        hidden_NT = 2 * torch.randn(N, T, generator=rng)
        theirs_NT = logit_NT + hidden_NT
        label_NT = torch.bernoulli(torch.sigmoid(theirs_NT), generator=rng)
    else:
        theirs_NT = logit_NT + 0.5 * torch.randn(N, T, generator=rng)
        mixed.regression.weight_XT += 0.5 * torch.randn(X, T, generator=rng) / math.sqrt(X)
    mixed.choose(theirs_NT.numpy(), input_NX, label_NT.numpy(), torch.zeros(T))
    assert least <= float(mixed.share) <= most
    both_NT = mixed(theirs_NT, input_NX)
    for alone_NT in (theirs_NT, mixed.regression(input_NX)):
        loss = binary_cross_entropy_with_logits(both_NT, label_NT)
        assert loss <= binary_cross_entropy_with_logits(alone_NT, label_NT) + 1e-6


def test_what_sampling_took_is_given_back_before_the_share_is_chosen() -> None:
    """Trained on fewer negatives, both parts say too much by the same; that says nothing about which of them knows more."""
    input_NX, label_NT, logit_NT = world()
    mixed, prior_T, none_T = blend(input_NX, label_NT), torch.full((T,), -3.0), torch.zeros(T)
    network_NT = logit_NT + 0.5 * torch.randn(N, T, generator=torch.Generator().manual_seed(9))
    mixed.choose(network_NT.numpy(), input_NX, label_NT.numpy(), none_T)
    unsampled = float(mixed.share)
    mixed.regression.bias_T -= prior_T
    found = dict[str, float]()
    for name, told_T in (("told", prior_T), ("untold", none_T)):
        mixed.choose((network_NT - prior_T).numpy(), input_NX, label_NT.numpy(), told_T)
        found[name] = float(mixed.share)
    assert found["told"] == pytest.approx(unsampled)
    assert found["untold"] != pytest.approx(unsampled)


@given(st.floats(0, 1), st.integers(0, 5))
def test_it_is_a_mean_of_logits(share: float, rows: int) -> None:
    mixed, input_NX, logit_NT = Blend(X, T), torch.randn(rows, X), torch.randn(rows, T)
    mixed.regression.weight_XT.copy_(torch.randn(X, T))
    mixed.share.fill_(share)
    wanted_NT = (1 - share) * logit_NT + share * mixed.regression(input_NX)
    assert np.allclose(mixed(logit_NT, input_NX).numpy(), wanted_NT.numpy(), atol=1e-5)
    assert mixed(logit_NT, input_NX).shape == (rows, T)
