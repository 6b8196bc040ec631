"""The training loop, on a model small enough to know the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.errors import FitError
from training.fit import CurvePoint, FitConfig, Progress, fit

X_N = torch.linspace(-1, 1, 64).unsqueeze(1)
CONFIG = FitConfig(epochs=30, learning_rate=0.1, batch_rows=16)


class Line(nn.Module):
    """y = 3x is what there is to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Linear(1, 1)
        nn.init.zeros_(self.slope.weight)
        nn.init.zeros_(self.slope.bias)

    def loss(self, request_R: NDArray[np.int64]) -> Tensor:
        x_N = X_N[torch.from_numpy(request_R)]
        return (self.slope(x_N) - 3 * x_N).square().mean()


def train(model: Line, config: FitConfig = CONFIG, progress: Progress | None = None) -> tuple[CurvePoint, ...]:
    def valid_loss() -> float:
        return float(model.loss(np.arange(64)))

    return fit(model, model.loss, valid_loss, n_requests=64, n_rows=64, config=config, progress=progress)


def test_training_finds_the_line_and_its_curve_falls() -> None:
    model = Line()
    curve = train(model)
    assert abs(float(model.slope.weight.detach()) - 3) < 0.05
    assert curve[-1].valid_loss < 0.01 * curve[0].valid_loss


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = Line(), Line()
    assert train(first) == train(second)
    assert torch.equal(first.slope.weight, second.slope.weight)


def test_the_best_weights_are_kept_and_training_stops_without_progress() -> None:
    model, losses = Line(), iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    weights = []

    def valid_loss() -> float:
        weights.append(float(model.slope.weight.detach()))
        return next(losses)

    config = FitConfig(epochs=30, patience=2, evaluations_per_epoch=1, batch_rows=16)
    curve = fit(model, model.loss, valid_loss, n_requests=64, n_rows=64, config=config)
    assert [point.valid_loss for point in curve] == [3.0, 1.0, 2.0, 2.0]
    assert float(model.slope.weight.detach()) == weights[1]


def test_progress_counts_every_step_up_to_the_total() -> None:
    seen: list[tuple[int, int]] = []
    train(Line(), FitConfig(epochs=3, batch_rows=20, patience=99), lambda done, total: seen.append((done, total)))
    assert seen == [(step, 12) for step in range(1, 13)]


def test_an_interrupt_passes_through_and_leaves_the_random_state_alone() -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    model, before = Line(), torch.random.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        train(model, progress=interrupt)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not model.training


def test_a_loss_that_is_not_finite_is_refused() -> None:
    model = Line()
    model.slope.weight.data.fill_(float("nan"))
    with pytest.raises(FitError, match="the loss became nan at step 1 of 120; lower the learning rate"):
        train(model)


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(FitError, match="no training rows"):
        fit(Line(), Line().loss, lambda: 0.0, n_requests=0, n_rows=0, config=CONFIG)


def test_a_request_is_never_split_over_batches() -> None:
    model, batches = Line(), []

    def loss(request_R: NDArray[np.int64]) -> Tensor:
        batches.append(request_R)
        return model.loss(request_R)

    config = FitConfig(epochs=1, batch_rows=100)
    fit(model, loss, lambda: 0.0, n_requests=64, n_rows=64 * 20, config=config)
    assert sorted(np.concatenate(batches).tolist()) == list(range(64))
    assert max(len(batch) for batch in batches) == 5


@pytest.mark.parametrize("field", ["epochs", "batch_rows", "evaluations_per_epoch", "patience"])
def test_settings_below_one_are_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"FitConfig.{field} must be at least 1, got 0"):
        FitConfig(**{field: 0})
