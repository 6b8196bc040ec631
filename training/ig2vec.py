"""Account embeddings from the order in which users act on accounts: skip-gram with negative sampling over sessions ("ig2vec").

The idea is Instagram's ("Powered by AI: Instagram's Explore recommender system", 2019), the objective Mikolov et al.'s (2013).
Knows accounts and sessions; knows nothing of media, topics or rankers. What the vectors are worth: `ig2vec_quality.py`.

Shapes: U accounts, E dimensions, A tokens (positive actions after collapsing), P pairs, X distinct centres of a batch, K noise
accounts of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.checkpoints import Checkpoint, Snapshot
from training.columns import Scratch, chunks, gathered, grouped, places_where
from training.embedding_table import DistinctRows, EmbeddingTable
from training.event_log import POSITIVE, EventLog

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Ig2vecConfig:
    """Word2vec's knobs. Those that matter most (Caselles-Dupre et al., 2018) come from a search: docs/benchmarks/ig2vec.md.

    Window, epochs, exponent and subsample are its winner in recall of held-out next accounts. Those of text (5, 5, 0.75, 1e-3)
    give purer neighbours: topics .61 instead of .51, at a recall of .111 instead of .137 on the simulated log.
    """

    dim: int = 64
    session_gap_ms: int = 30 * 60_000  # a longer pause starts a new session
    window: int = 2  # the reach of each centre is drawn from 1 .. window
    epochs: int = 3
    negatives: int = 5  # weight of the noise against one observed pair
    noise_exponent: float = (
        -0.5
    )  # accounts are drawn as noise in proportion to count ** exponent; below 0 the rare ones more
    subsample: float = 0.0  # share of all tokens above which an account's tokens are thinned out; 0 keeps them all
    batch: int = 8_192
    # Noise accounts drawn per batch and shared by its pairs, which makes the step one matrix product.
    shared_noise: int = 64
    learning_rate: float = 0.1
    max_tokens: int = 20_000_000  # the most recent ones are used
    seed: int = 0


@dataclass(frozen=True)
class Sessions:
    """A tokens: the accounts that users acted on, in order. Tokens of one session are contiguous."""

    account_A: NDArray[np.integer]
    session_A: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.account_A)

    def kept(self, keep_A: NDArray[np.bool_]) -> Sessions:
        """Only the tokens of the mask [A]."""
        return Sessions(self.account_A[keep_A], self.session_A[keep_A])

    def shuffled(self, seed: int) -> Sessions:
        """The same tokens in sessions of the same lengths, dealt out at random: what is left without any order or company."""
        return Sessions(np.random.default_rng(seed).permutation(self.account_A), self.session_A)


def sessions(log: EventLog, end_ms: int, gap_ms: int, max_tokens: int | None = None, start_ms: int = 0) -> Sessions:
    """Sessions of the positive actions in [start_ms, end_ms): one user's, with pauses below `gap_ms`; repeats in a row count once.

    The latest `max_tokens` of them, if given.
    """
    first = log.count_before(start_ms)

    def counts(of: slice) -> NDArray[np.bool_]:
        return np.isin(log.action_E[of], POSITIVE) & (log.author_row_E[of] >= 0)

    event_A = places_where(counts, first, max(first, log.count_before(end_ms)))
    if max_tokens is not None:
        event_A = event_A[max(0, len(event_A) - max_tokens) :]
    place_A, _ = grouped(lambda of: log.user_E[event_A[of]], 0, len(event_A), len(log.user_ids), log.scratch)
    event_A = gathered(event_A, place_A, log.scratch)
    account_A = gathered(log.author_row_E, event_A, Scratch())
    starts_A, repeat_A = np.ones(len(event_A), dtype=np.bool_), np.zeros(len(event_A), dtype=np.bool_)
    for of in chunks(1, len(event_A)):
        own_X = event_A[of.start - 1 : of.stop]
        starts_A[of] = (np.diff(log.user_E[own_X]) != 0) | (np.diff(log.time_ms_E[own_X]) >= gap_ms)
        repeat_A[of] = (np.diff(account_A[of.start - 1 : of.stop]) == 0) & ~starts_A[of]
    return Sessions(account_A, np.cumsum(starts_A, dtype=np.int32)).kept(~repeat_A)


def window_pairs(
    tokens: Sessions, window: int, random: np.random.Generator, scratch: Scratch | None = None
) -> tuple[Int32, Int32]:
    """Centres and contexts [P] of dynamic windows; no pair crosses a session. In `scratch`: there are several per token."""
    reach_A = random.integers(1, window + 1, len(tokens)).astype(np.uint16)
    pairs = sum(int(chosen.sum()) for chosen, _, _ in _pairs(tokens, window, reach_A))
    scratch = scratch or Scratch()
    centre_P, context_P = scratch.empty((pairs,), np.int32), scratch.empty((pairs,), np.int32)
    done = 0
    for chosen, centre, context in _pairs(tokens, window, reach_A):
        of = slice(done, done + int(chosen.sum()))
        centre_P[of], context_P[of] = tokens.account_A[centre][chosen], tokens.account_A[context][chosen]
        done = of.stop
    return centre_P, context_P


def _pairs(
    tokens: Sessions, window: int, reach_A: NDArray[np.uint16]
) -> Iterator[tuple[NDArray[np.bool_], slice, slice]]:
    """Runs of tokens and of others at one distance from them, and which of these make a pair."""
    for distance in range(1, min(window, len(tokens) - 1) + 1):
        left, right = slice(0, len(tokens) - distance), slice(distance, len(tokens))
        together = tokens.session_A[left] == tokens.session_A[right]
        for centre, context in ((left, right), (right, left)):
            yield together & (reach_A[centre] >= distance), centre, context


def train_account_vectors(
    log: EventLog,
    end_ms: int,
    config: Ig2vecConfig | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Float32:
    """Unit vectors [U, E] from the events before `end_ms`; zero for accounts that nobody acted on by then.

    Rankers use the vectors as features, so they must be trained on impressions after `end_ms` only. `progress` gets (epochs done,
    all).
    """
    config = config or Ig2vecConfig()
    tokens = sessions(log, end_ms, config.session_gap_ms, config.max_tokens)
    return train_vectors(tokens, len(log.account_id_U), config, progress, checkpoint, log.scratch)


def train_vectors(
    tokens: Sessions,
    accounts: int,
    config: Ig2vecConfig,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    scratch: Scratch | None = None,
) -> Float32:
    """Unit vectors [U, E] of U = `accounts` accounts; zero for those that no pair moved from their random start.

    Those have no token, or sessions of their own media only. Resumes from `checkpoint`, if given.

    `scratch` is for the pairs of an epoch.
    """
    count_U = np.bincount(tokens.account_A, minlength=accounts)
    keep_U = _keep_share(count_U, config.subsample)
    random = np.random.default_rng(config.seed)
    model = _SkipGram(count_U, config)
    kept = checkpoint.load() if checkpoint is not None else None
    if kept is not None:
        model.restore(kept.arrays)
        random.bit_generator.state = kept.notes["random"]
    for epoch in range(kept.notes["epochs"] if kept is not None else 0, config.epochs):
        thinned = tokens.kept(random.random(len(tokens)) < keep_U[tokens.account_A])
        centre_P, context_P = window_pairs(thinned, config.window, random, scratch)
        order_P = (scratch or Scratch()).empty((len(centre_P),), np.int64)
        order_P[:] = np.arange(len(centre_P))
        random.shuffle(order_P)
        for start in range(0, len(order_P), config.batch):
            of = order_P[start : start + config.batch]
            model.step(torch.from_numpy(centre_P[of]).long(), torch.from_numpy(context_P[of]).long())
        if checkpoint is not None:
            notes = {"epochs": epoch + 1, "random": random.bit_generator.state}
            checkpoint.save(Snapshot(model.state(), notes), f"epoch {epoch + 1} of {config.epochs} done")
        if progress is not None:
            progress(epoch + 1, config.epochs)
    return model.unit_vectors()


class _SkipGram:
    """Centre and context tables with their optimiser."""

    def __init__(self, count_U: Int64, config: Ig2vecConfig) -> None:
        self._config = config
        self._generator = torch.Generator().manual_seed(config.seed)
        self._rows = DistinctRows(len(count_U))
        shape = (len(count_U), config.dim)
        start_UE = (torch.rand(shape, generator=self._generator) - 0.5) / config.dim
        self._centres = EmbeddingTable(start_UE, config.learning_rate)
        self._contexts = EmbeddingTable(torch.zeros(shape), config.learning_rate)
        noise_U = np.where(count_U > 0, np.maximum(count_U, 1) ** float(config.noise_exponent), 0.0)
        self._noise_U = torch.from_numpy(np.cumsum(noise_U) / max(noise_U.sum(), 1e-12))

    def step(self, centre_P: Tensor, context_P: Tensor) -> None:
        """One batch: minus log sigmoid of every pair's product, and of minus the products of its centre with the noise.

        The gradient is written out, and the noise computed once for each distinct centre: autograd takes longer.
        """
        row_X, place_P = self._rows.of(centre_P)
        centre_XE = self._centres.look_up(row_X)
        other_YE = self._contexts.look_up(torch.cat([context_P, self._noise()]))
        with torch.no_grad():
            context_PE, noise_KE = other_YE[: len(context_P)], other_YE[len(context_P) :]
            centre_PE = centre_XE[place_P]
            missed_P1 = -torch.sigmoid(-(centre_PE * context_PE).sum(1, keepdim=True))
            weight_X1 = torch.bincount(place_P)[:, None] * (self._config.negatives / len(noise_KE))
            mistaken_XK = torch.sigmoid(centre_XE @ noise_KE.T) * weight_X1
            centre_gradient_XE = (mistaken_XK @ noise_KE).index_add_(0, place_P, missed_P1 * context_PE)
            other_gradient_YE = torch.cat([missed_P1 * centre_PE, mistaken_XK.T @ centre_XE])
        torch.autograd.backward([centre_XE, other_YE], [centre_gradient_XE, other_gradient_YE])
        self._centres.step()
        self._contexts.step()

    def state(self) -> dict[str, NDArray[Any]]:
        """What the next step depends on, apart from its pairs."""
        drawn = {"generator": self._generator.get_state().numpy()}
        return self._centres.state("centres") | self._contexts.state("contexts") | drawn

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._centres.restore("centres", state)
        self._contexts.restore("contexts", state)
        self._generator.set_state(torch.from_numpy(state["generator"]))

    def unit_vectors(self) -> Float32:
        """Zero for rows that still stand where chance put them: they are near to others by chance alone."""
        return (F.normalize(self._centres.value_RD, dim=1) * self._centres.moved_R[:, None]).numpy()

    def _noise(self) -> Tensor:
        drawn_K = torch.rand(self._config.shared_noise, generator=self._generator, dtype=torch.float64)
        return torch.searchsorted(self._noise_U, drawn_K).clamp_(max=len(self._noise_U) - 1)


def _keep_share(count_U: Int64, subsample: float) -> Float32:
    """Probability to keep a token of every account (Mikolov et al., 2013, section 2.3)."""
    share_U = count_U / max(int(count_U.sum()), 1)
    if subsample <= 0:
        return np.ones(len(count_U), dtype=np.float32)
    return np.minimum(1.0, np.sqrt(subsample / np.maximum(share_U, 1e-12))).astype(np.float32)
