"""The one training loop: batches of whole requests, two optimisers, early stopping. Knows neither the model nor the loss.

What a loop needs to go on after a kill it hands to a checkpoint; where that keeps it is not known here.

A request is never split over batches, since listwise losses need it whole and its history is then encoded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.checkpoints import Checkpoint, Snapshot
from training.errors import FitError

Progress = Callable[[int, int], None]  # steps done, steps in all
BatchLoss = Callable[[NDArray[np.int64]], Tensor]  # request numbers of one batch to a scalar


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast. Learning rates warm up over the first steps and then fall to zero along a cosine."""

    epochs: int = 2
    learning_rate: float = 5e-3
    embedding_learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    batch_rows: int = 2048  # more steps teach more in one or two epochs than larger batches do
    evaluations_per_epoch: int = 2
    patience: int = 3  # evaluations without progress before training stops
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError naming a field that must be positive."""
        for name in ("epochs", "batch_rows", "evaluations_per_epoch", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"FitConfig.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation: training loss since the one before, and loss on validation rows."""

    step: int
    epoch: float
    train_loss: float
    valid_loss: float


def fit(
    model: nn.Module,
    batch_loss: BatchLoss,
    valid_loss: Callable[[], float],
    *,
    n_requests: int,
    n_rows: int,
    config: FitConfig,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[CurvePoint, ...]:
    """Trains `model` in place, leaves it in eval mode with the weights of its best evaluation, and returns the curve.

    `valid_loss` is called with the model in eval mode; lower is better. The same seed, data and thread count give the same
    weights, whether in one go or resumed from `checkpoint`, which gets the state after every epoch and whenever it is due. The
    global random state is left as it was, also when a KeyboardInterrupt from `progress` ends training early.
    Raises FitError when there is nothing to train on or a loss is not finite.
    """
    if n_requests == 0 or n_rows == 0:
        raise FitError("no training rows; widen the training window or check the event log")
    with seeded(config.seed):
        try:
            run = _Run(model, batch_loss, valid_loss, config, checkpoint)
            return run.train(n_requests, n_rows, progress or (lambda *_: None))
        finally:
            model.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What torch draws inside depends on the seed alone, and the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class _Run:
    def __init__(
        self,
        model: nn.Module,
        batch_loss: BatchLoss,
        valid_loss: Callable[[], float],
        config: FitConfig,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.model, self.batch_loss, self.valid_loss, self.config = model, batch_loss, valid_loss, config
        self.checkpoint = checkpoint
        self.optimisers = _optimisers(model, config)
        self.best_loss, self.best_state, self.stale = math.inf, _copy(model), 0
        self.curve: list[CurvePoint] = []
        self.done = self.saved = 0  # steps
        self.losses: list[float] = []  # since the last evaluation

    def train(self, n_requests: int, n_rows: int, progress: Progress) -> tuple[CurvePoint, ...]:
        per_batch = max(1, round(n_requests * self.config.batch_rows / n_rows))
        per_epoch = math.ceil(n_requests / per_batch)
        total = per_epoch * self.config.epochs
        every = max(1, per_epoch // self.config.evaluations_per_epoch)
        self._resume()
        if self.done:
            progress(self.done, total)
        for request_R in islice(_batches(n_requests, per_batch, self.config), self.done, None):
            if self.stale >= self.config.patience:
                break
            self.done += 1
            self.losses.append(self._step(request_R, self.done, total))
            if self.done % every == 0 or self.done == total:
                self._evaluate(CurvePoint(self.done, self.done / per_epoch, float(np.mean(self.losses)), math.nan))
                self.losses.clear()
            if self.done % per_epoch == 0:
                self._save(f"epoch {self.done // per_epoch} of {self.config.epochs} done")
            elif self.checkpoint is not None and self.checkpoint.due():
                self._save(f"step {self.done} of {total} done")
            progress(self.done, total)
        self._save("trained")
        self.model.load_state_dict(self.best_state)
        return tuple(self.curve)

    def _save(self, done: str) -> None:
        """Everything that the next step depends on, except the order of the batches, which the seed gives again."""
        if self.checkpoint is None or self.saved == self.done:
            return
        tensors = {"random": torch.random.get_rng_state()}
        tensors |= {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        states = _optimiser_states(self.optimisers)
        tensors |= {name: value for name, value in states.items() if isinstance(value, Tensor)}
        notes = {
            "done": self.done,
            "best_loss": self.best_loss,
            "stale": self.stale,
            "curve": [asdict(point) for point in self.curve],
            "losses": self.losses,
            "optimisers": {name: value for name, value in states.items() if not isinstance(value, Tensor)},
        }
        self.checkpoint.save(Snapshot({name: value.numpy() for name, value in tensors.items()}, notes), done)
        self.saved = self.done

    def _resume(self) -> None:
        snapshot = self.checkpoint.load() if self.checkpoint is not None else None
        if snapshot is None:
            return
        tensors, notes = {name: torch.from_numpy(value) for name, value in snapshot.arrays.items()}, snapshot.notes
        self.model.load_state_dict(_below("model.", tensors))
        self.best_state = _below("best.", tensors)
        _restore(self.optimisers, tensors | notes["optimisers"])
        self.curve = [CurvePoint(**point) for point in notes["curve"]]
        self.best_loss, self.stale, self.losses = notes["best_loss"], notes["stale"], list(notes["losses"])
        self.done = self.saved = notes["done"]
        torch.random.set_rng_state(tensors["random"])

    def _step(self, request_R: NDArray[np.int64], step: int, total: int) -> float:
        self.model.train()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * _schedule(step, total)
            optimiser.zero_grad()
        loss = self.batch_loss(request_R)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FitError(f"the loss became {value} at step {step} of {total}; lower the learning rate")
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self.optimisers:
            optimiser.step()
        return value

    def _evaluate(self, point: CurvePoint) -> None:
        self.model.eval()
        with torch.no_grad():
            loss = self.valid_loss()
        if not math.isfinite(loss):
            raise FitError(f"the validation loss became {loss} at step {point.step}; lower the learning rate")
        self.curve.append(replace(point, valid_loss=loss))
        if loss < self.best_loss:
            self.best_loss, self.best_state, self.stale = loss, _copy(self.model), 0
        else:
            self.stale += 1


def _batches(n_requests: int, per_batch: int, config: FitConfig) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(config.seed)
    for _ in range(config.epochs):
        order = rng.permutation(n_requests)
        for start in range(0, n_requests, per_batch):
            # In log order inside a batch: gathers then walk through memory once.
            yield np.sort(order[start : start + per_batch])


def _schedule(step: int, total: int) -> float:
    warm_up = max(1, total // 20)
    if step <= warm_up:
        return step / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up + 1)))


def _optimisers(model: nn.Module, config: FitConfig) -> list[torch.optim.Optimizer]:
    """SparseAdam for tables with sparse gradients, so that a step costs the rows it touched and not the table."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding) and m.sparse]
    is_table = {id(weight) for weight in tables}
    dense = [weight for weight in model.parameters() if id(weight) not in is_table]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": [w for w in dense if w.dim() > 1], "weight_decay": config.weight_decay},
                {"params": [w for w in dense if w.dim() <= 1], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=True,  # one pass over the weights; the loop over them takes several times as long
        )
    ]
    if tables:
        optimisers.append(torch.optim.SparseAdam(tables, lr=config.embedding_learning_rate))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers


def _optimiser_states(optimisers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    """State by name: optimiser, number of the weight, field. Groups are left out: config and step say all that is in them."""
    return {
        f"optimiser.{number}.{weight}.{field}": value
        for number, optimiser in enumerate(optimisers)
        for weight, state in optimiser.state_dict()["state"].items()
        for field, value in state.items()
    }


def _restore(optimisers: list[torch.optim.Optimizer], named: dict[str, Any]) -> None:
    for number, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Any]] = {}
        for name, value in _below(f"optimiser.{number}.", named).items():
            weight, field = name.split(".")
            state.setdefault(int(weight), {})[field] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _below(prefix: str, named: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
