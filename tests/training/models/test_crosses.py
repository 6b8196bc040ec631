"""Crosses: products that can be written down, rows that do not see each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.models.crosses import LowRankCross, MaskNet

N, X = 9, 5


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_crosses_start_as_the_identity(layers: int) -> None:
    input_NX = torch.randn(N, X)
    assert torch.equal(LowRankCross(X, layers)(input_NX), input_NX)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_a_cross_is_exactly_the_product_that_its_weights_name(seed: int, factor: float) -> None:
    """U V with one entry at (0, 1) adds factor * x_0 * x_1 to place 0 and nothing elsewhere."""
    cross, input_NX = LowRankCross(X, layers=1, rank=1), torch.randn(N, X, generator=_random(seed))
    _set(cross, down=1, up=0, factor=factor)
    expected_NX = input_NX.clone()
    expected_NX[:, 0] += factor * input_NX[:, 0] * input_NX[:, 1]
    assert torch.allclose(cross(input_NX), expected_NX, atol=1e-5)


def test_two_layers_multiply_three_inputs() -> None:
    cross, input_NX = LowRankCross(X, layers=2, rank=1), torch.randn(N, X)
    _set(cross, down=1, up=0, factor=1.0)
    zero, one = input_NX[:, 0], input_NX[:, 1]
    assert torch.allclose(cross(input_NX)[:, 0], zero + 2 * zero * one, atol=1e-5)
    _set(cross, down=0, up=0, factor=1.0)
    assert torch.allclose(cross(input_NX)[:, 0], zero + 2 * zero**2 + zero**3, atol=1e-4)


def test_a_cross_learns_a_product() -> None:
    torch.manual_seed(0)
    input_NX = torch.randn(500, X)
    target_N = input_NX[:, 2] * input_NX[:, 4]
    model = nn.Sequential(LowRankCross(X, layers=1, rank=4), nn.Linear(X, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (model(input_NX).squeeze(1) - target_N).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.01 * float(target_N.var())


def test_rows_of_the_mask_net_may_come_in_any_order() -> None:
    net, input_NX, order_N = MaskNet(X), torch.randn(N, X), torch.randperm(N)
    assert torch.allclose(net(input_NX)[order_N], net(input_NX[order_N]), atol=1e-6)


def test_the_mask_net_keeps_the_input_and_adds_its_blocks() -> None:
    net, input_NX = MaskNet(X, blocks=3, output=4), torch.randn(N, X)
    found_NX = net(input_NX)
    assert torch.equal(found_NX[:, :X], input_NX)
    assert found_NX.shape == (N, net.output_width) == (N, X + 12)


def test_a_mask_of_zeros_silences_its_block_only() -> None:
    net = MaskNet(X, blocks=2, output=4)
    for weight in list(net.masks[0].parameters())[-2:]:
        nn.init.zeros_(weight)
    found_NX = net(torch.randn(N, X))
    assert torch.allclose(found_NX[:, X : X + 4], found_NX[:1, X : X + 4].expand(N, 4))
    assert not torch.allclose(found_NX[:, X + 4 :], found_NX[:1, X + 4 :].expand(N, 4))


@pytest.mark.parametrize("layer", [LowRankCross(X), MaskNet(X)], ids=["dcn", "masknet"])
def test_no_rows_give_no_rows(layer: LowRankCross | MaskNet) -> None:
    assert layer(torch.zeros(0, X)).shape == (0, layer.output_width)


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _set(cross: LowRankCross, down: int, up: int, factor: float) -> None:
    with torch.no_grad():
        for weight in cross.parameters():
            weight.zero_()
        for to_rank, from_rank in zip(cross.down, cross.up, strict=True):
            assert isinstance(to_rank, nn.Linear)
            assert isinstance(from_rank, nn.Linear)
            to_rank.weight[0, down] = 1
            from_rank.weight[up, 0] = factor
