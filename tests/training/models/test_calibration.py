"""The calibrating module: the identity, numpy's interpolation, odd logits, and its graph."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.calibration import KNOTS, LIMIT, Calibrated, Calibration

Float64 = NDArray[np.float64]
Knots = tuple[Float64, Float64]


def drawn(seed: int) -> Knots:
    """Rising knots, few or many, gentle or steep."""
    random = np.random.default_rng(seed)
    x_K, y_K = (
        np.concatenate([[-LIMIT], np.sort(random.uniform(-9, 9, inner)), [LIMIT]])
        for inner in [int(random.integers(0, KNOTS - 1))] * 2
    )
    return (x_K, y_K) if (np.diff(x_K) > 1e-3).all() else (y_K[[0, -1]], y_K[[0, -1]])


def made(*knots: Knots) -> Calibration:
    calibration = Calibration(len(knots))
    calibration.set_knots(knots)
    return calibration


def test_untouched_it_keeps_every_logit_to_the_last_bit() -> None:
    logit_NT, ends = torch.randn(1_000, 3).clamp(-3, 3) * 4, np.array([-LIMIT, LIMIT])
    for calibration in (Calibration(3), made(*[(ends, ends)] * 3)):
        assert torch.equal(calibration.logits(logit_NT), logit_NT)
        assert torch.allclose(calibration(logit_NT), torch.sigmoid(logit_NT), rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_it_interpolates_as_numpy_does(seed: int) -> None:
    heads = [drawn(seed), drawn(seed + 1)]
    logit_NT = (np.random.default_rng(seed).normal(size=(500, 2)) * 6).astype(np.float32)
    found_NT = made(*heads)(torch.from_numpy(logit_NT)).numpy()
    for head, (x_K, y_K) in enumerate(heads):
        # A steep segment multiplies the rounding of float32 logits, which is none of interpolation's doing.
        steepest = float((np.diff(y_K) / np.diff(x_K)).max())
        expected_N = 1 / (1 + np.exp(-np.interp(logit_NT[:, head].astype(np.float64), x_K, y_K)))
        np.testing.assert_allclose(found_NT[:, head], expected_N, atol=1e-6 * max(1.0, steepest))


def test_a_second_fit_leaves_nothing_of_the_first() -> None:
    calibration, ends = made(drawn(3)), np.array([-LIMIT, LIMIT])
    calibration.set_knots([(ends, ends)])
    assert torch.equal(calibration(torch.ones(1, 1)), torch.sigmoid(torch.ones(1, 1)))


def test_the_prior_comes_before_the_knots() -> None:
    x_K, y_K = np.array([-LIMIT, 0.0, LIMIT]), np.array([-LIMIT, 2.0, LIMIT])
    calibration = made((x_K, y_K))
    calibration.correct_prior(np.array([-1.0]))
    assert calibration.logits(torch.tensor([[1.0]])).item() == pytest.approx(2.0)


@pytest.mark.parametrize("logit", [float("inf"), -float("inf"), 3e38, -3e38, 50.0, -50.0])
def test_extreme_logits_stay_strictly_inside(logit: float) -> None:
    for calibration in (Calibration(1), made(drawn(5))):
        assert 0 < calibration(torch.tensor([[logit]])).item() < 1


def test_a_logit_that_is_no_number_does_not_become_one() -> None:
    assert made(drawn(5))(torch.tensor([[float("nan")]])).isnan().all()


def test_no_candidates_have_no_probabilities() -> None:
    assert made(drawn(5))(torch.zeros(0, 1)).shape == (0, 1)


class _Doubled(nn.Module):
    def forward(self, dense_NT: Tensor) -> Tensor:
        return 2 * dense_NT


@pytest.mark.filterwarnings("ignore")  # the exporter warns of its own internals
def test_the_graph_says_what_the_network_says() -> None:
    network = Calibrated(_Doubled(), made(drawn(7), drawn(8))).eval()
    program = torch.onnx.export(
        network, (torch.zeros(5, 2),), dynamo=True, verbose=False, dynamic_shapes=(({0: torch.export.Dim.DYNAMIC},),)
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for n in (0, 1, 2, 300):
        logit_NT = torch.randn(n, 2) * 8
        (found_NT,) = session.run(None, {session.get_inputs()[0].name: logit_NT.numpy()})
        np.testing.assert_allclose(found_NT, network(logit_NT).numpy(), atol=1e-6)
