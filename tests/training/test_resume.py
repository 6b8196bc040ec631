"""Training that is interrupted anywhere and resumed ends with the same bits as training that was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tests.training.logs import planted, table_of
from training.checkpoints import Checkpoint, RunDirectory, Snapshot
from training.contexts import ContextLog
from training.event_log import EventLog
from training.fit import CurvePoint, FitConfig, Progress, fit
from training.ig2vec import Ig2vecConfig, Sessions, train_vectors
from training.two_tower import TwoTowerConfig, train_media_vectors

N, IDS = 90, 30
STEPS = 24  # of CONFIG
CONFIG = FitConfig(epochs=4, batch_rows=15, learning_rate=0.05, evaluations_per_epoch=3, patience=99)


class At:
    """A checkpoint on disk that is also due after the steps that a test names."""

    def __init__(self, directory: Path, due: set[int]) -> None:
        kept = RunDirectory(directory, print).checkpoint("model")
        assert kept is not None
        self.kept, self._due, self._asked, self.saved = kept, due, 0, 0

    def load(self) -> Snapshot | None:
        return self.kept.load()

    def due(self) -> bool:
        self._asked += 1
        return self._asked in self._due

    def save(self, snapshot: Snapshot, done: str) -> None:
        self.saved += 1
        self.kept.save(snapshot, done)


class Model(nn.Module):
    """Everything that has a state: a sparse table, weights and biases, a buffer, and dropout out of the global generator."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.table = nn.Embedding(IDS, 4, sparse=True)
        self.inner, self.outer = nn.Linear(4, 8), nn.Linear(8, 1)
        self.register_buffer("scale", torch.tensor(2.0))
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) * 0.3

    def forward(self, id_N: Tensor) -> Tensor:
        hidden_NH = F.dropout(torch.relu(self.inner(self.table(id_N))), 0.3, self.training)
        return self.outer(hidden_NH)[:, 0] * self.scale

    def loss(self, request_R: NDArray[np.int64]) -> Tensor:
        row_N = torch.from_numpy(request_R)
        return (self(row_N % IDS) - torch.sin(row_N.float())).square().mean()


def train(
    checkpoint: Checkpoint | None = None, progress: Progress | None = None, config: FitConfig = CONFIG
) -> tuple[Model, tuple[CurvePoint, ...]]:
    model = Model()
    held_out = np.arange(N, N + 20)
    curve = fit(
        model,
        model.loss,
        lambda: float(model.loss(held_out)),
        n_requests=N,
        n_rows=N,
        config=config,
        progress=progress,
        checkpoint=checkpoint,
    )
    return model, curve


def stop_at(*steps: int) -> Progress:
    def progress(done: int, total: int) -> None:
        if done in steps:
            raise KeyboardInterrupt

    return progress


def until_done(run: Callable[[Progress], None], stops: list[int]) -> None:
    """Runs again after every interrupt. A stop that resuming has passed already interrupts nothing."""
    for stop in stops:
        try:
            run(stop_at(stop))
        except KeyboardInterrupt:
            continue
    run(lambda done, total: None)


def assert_same(first: tuple[Model, tuple[CurvePoint, ...]], second: tuple[Model, tuple[CurvePoint, ...]]) -> None:
    assert first[1] == second[1]
    for (name, one), (_, other) in zip(first[0].state_dict().items(), second[0].state_dict().items(), strict=True):
        assert torch.equal(one, other), name


@pytest.fixture(name="whole", scope="module")
def _whole() -> tuple[Model, tuple[CurvePoint, ...]]:
    return train()


@settings(max_examples=20)
@given(st.lists(st.integers(1, STEPS), min_size=1, max_size=4), st.sets(st.integers(1, STEPS)))
def test_a_resumed_fit_is_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory,
    whole: tuple[Model, tuple[CurvePoint, ...]],
    stops: list[int],
    due: set[int],
) -> None:
    directory, found = tmp_path_factory.mktemp("run"), []

    def run(progress: Progress) -> None:
        found.append(train(At(directory, due), progress))

    until_done(run, stops)
    assert_same(whole, found[-1])


@pytest.mark.parametrize("stop", [2, 5, 8])
def test_early_stopping_counts_on_over_an_interrupt(tmp_path: Path, stop: int) -> None:
    config = FitConfig(epochs=40, batch_rows=15, learning_rate=0.5, evaluations_per_epoch=3, patience=2)
    whole = train(config=config)
    assert whole[1][-1].step < 100
    with pytest.raises(KeyboardInterrupt):
        train(At(tmp_path, {stop}), stop_at(stop), config)
    assert_same(whole, train(At(tmp_path, set()), config=config))


def test_an_interrupt_costs_an_epoch_at_most_and_a_trained_model_is_not_trained_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(At(tmp_path, set()), stop_at(12))
    seen: list[int] = []
    train(At(tmp_path, set()), lambda done, total: seen.append(done))
    assert seen == [12, *range(13, STEPS + 1)]
    seen.clear()
    again = At(tmp_path, set())
    train(again, lambda done, total: seen.append(done))
    assert (seen, again.saved) == ([STEPS], 0)


def test_account_vectors_resume_after_an_epoch(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    tokens = Sessions(random.integers(0, 40, 3_000), np.repeat(np.arange(300), 10))
    config = Ig2vecConfig(dim=8, epochs=3, batch=512, subsample=0.01)
    with pytest.raises(KeyboardInterrupt):
        train_vectors(tokens, 40, config, stop_at(2), At(tmp_path, set()))
    seen: list[int] = []
    resumed = train_vectors(tokens, 40, config, lambda done, total: seen.append(done), At(tmp_path, set()))
    assert seen == [3]
    assert np.array_equal(resumed, train_vectors(tokens, 40, config))


def test_media_vectors_resume_after_an_epoch(tmp_path: Path) -> None:
    world = planted()
    log = EventLog.from_dataset(world)
    contexts, items, config = ContextLog(log, world.users), table_of(world), TwoTowerConfig(dim=8, epochs=3, batch=64)

    def vectors(progress: Progress | None = None, checkpoint: Checkpoint | None = None) -> NDArray[np.float32]:
        return train_media_vectors(
            log, contexts, items, end_ms=world.as_of_ms, config=config, progress=progress, checkpoint=checkpoint
        )

    seen: list[tuple[int, int]] = []
    whole = vectors(lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    with pytest.raises(KeyboardInterrupt):
        vectors(stop_at(total // 3 + 2), At(tmp_path, set()))
    seen.clear()
    resumed = vectors(lambda done, total: seen.append((done, total)), At(tmp_path, set()))
    assert seen[0] == (total // 3 + 1, total)
    assert np.array_equal(resumed, whole)
