"""The sparse linear layer: missing is not zero, the norm stays bounded, and inputs that no log contains."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.models.sparse_linear import LIMIT, SparseLinear

NAN, INF = float("nan"), float("inf")
ANY = st.one_of(st.sampled_from([NAN, INF, -INF, 0.0, 3e38, -3e38]), st.floats(-1e6, 1e6, width=32))


def layer(weights: list[float], presence: list[float], seen: list[list[float]]) -> SparseLinear:
    """One task, after training has seen some rows."""
    made = SparseLinear(len(weights), 1)
    made.weight_FT.data.copy_(torch.tensor(weights)[:, None])
    made.presence_F.data.copy_(torch.tensor(presence))
    made.normal(torch.tensor(seen))
    return made.eval()


def output(made: SparseLinear, *rows: list[float]) -> list[float]:
    found: list[float] = made(torch.tensor(rows))[:, 0].tolist()
    return found


def test_missing_and_zero_differ_by_weight_times_bias() -> None:
    assert output(layer([2.0], [0.5], [[1.0]]), [NAN], [0.0]) == [0.0, 1.0]


def test_missing_and_zero_are_the_same_without_a_bias() -> None:
    assert output(layer([2.0], [0.0], [[1.0]]), [NAN], [0.0]) == [0.0, 0.0]


def test_contributions_of_present_features_add_up() -> None:
    made = layer([2.0, -1.0], [0.5, 0.25], [[3.0, 7.0]])
    assert output(made, [3.0, -7.0], [NAN, 7.0]) == pytest.approx([2 * 1.5 - 1 * (-1 + 0.25), -1.25])


def test_the_norm_is_the_largest_logarithm_that_training_saw() -> None:
    made = layer([1.0], [0.0], [[1.0], [-3.0], [NAN], [0.5]])
    assert made.norm_F.tolist() == pytest.approx([torch.tensor(4.0).log().item()])
    assert output(made, [1.0]) == pytest.approx([0.5])


def test_the_norm_grows_in_training_only_and_never_shrinks() -> None:
    made = layer([1.0], [0.0], [[3.0]])
    before = made.norm_F.clone()
    made(torch.tensor([[1e6]]))
    assert torch.equal(made.norm_F, before)
    made.train()(torch.tensor([[1.0]]))
    assert torch.equal(made.norm_F, before)
    made(torch.tensor([[1e6]]))
    assert made.norm_F.item() > before.item()


def test_an_outlier_squashes_a_feature_only_so_far() -> None:
    made = layer([1.0], [0.0], [[INF]])
    assert made.norm_F.tolist() == [LIMIT]
    assert output(made, [1.0]) == pytest.approx([torch.tensor(2.0).log().item() / LIMIT])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=8), st.lists(st.tuples(ANY, ANY), max_size=8))
def test_the_norm_is_bounded_and_the_output_finite(
    seen: list[tuple[float, ...]], served: list[tuple[float, ...]]
) -> None:
    made = layer([3.0, -2.0], [1.0, 1.0], [list(row) for row in seen])
    served_NF = torch.tensor(served).reshape(-1, 2)
    assert bool((made.normal(served_NF).abs() <= 1).all())
    assert bool(made(served_NF).isfinite().all())


def test_a_feature_that_training_never_met_is_silent_as_its_weight_was_never_moved() -> None:
    made = SparseLinear(2, 1)
    optimiser = torch.optim.SGD(made.parameters(), lr=1.0)
    for _ in range(3):
        optimiser.zero_grad()
        made(torch.tensor([[1.0, NAN], [2.0, NAN]])).sum().backward()
        optimiser.step()
    made.eval()
    assert output(made, [NAN, 5.0]) == [0.0]
    assert made.presence_F.data[1] == 0 != made.presence_F.data[0]


def test_it_starts_silent_and_no_gradient_reaches_the_norm() -> None:
    made, input_NF = SparseLinear(3, 2), torch.randn(5, 3)
    found_NT: Tensor = made(input_NF)
    assert not found_NT.any()
    assert not made.norm_F.requires_grad


def test_no_rows_give_no_output_and_leave_the_norm() -> None:
    made = layer([1.0], [0.0], [[3.0]]).train()
    before = made.norm_F.clone()
    assert made(torch.zeros(0, 1)).shape == (0, 1)
    assert torch.equal(made.norm_F, before)
