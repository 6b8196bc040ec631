"""Account embeddings from the order in which users act on accounts: skip-gram with negative sampling over sessions ("ig2vec").

The idea is Instagram's ("Powered by AI: Instagram's Explore recommender system", 2019), the objective Mikolov et al.'s (2013).
Knows accounts and sessions; knows nothing of media, topics or rankers.

Shapes: U accounts, E dimensions, A tokens (positive actions after collapsing), P pairs, K shared negatives or
neighbours, I accounts that have a vector, Q of them at a time, M media, T topics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from features.item_table import UNKNOWN_TOPIC, ItemTable
from training.embedding_table import EmbeddingTable
from training.event_log import EventLog

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Progress = Callable[[int, int], None]

_QUERY_CHUNK = 1_024


@dataclass(frozen=True)
class Ig2vecConfig:
    """Word2vec's knobs. Its defaults suit text, not feeds: the exponent, window and epochs matter most (Caselles-Dupre, 2018)."""

    dim: int = 64
    session_gap_ms: int = 30 * 60_000  # a longer pause starts a new session
    window: int = 5  # the reach of each centre is drawn from 1 .. window
    epochs: int = 5
    negatives: int = 5  # weight of the noise against one observed pair
    noise_exponent: float = 0.75  # accounts are drawn as noise in proportion to count ** exponent
    subsample: float = 1e-3  # share of all tokens above which an account's tokens are thinned out; 0 keeps them all
    batch: int = 8_192
    # Noise accounts drawn per batch and shared by its pairs, which makes the step one matrix product.
    shared_noise: int = 128
    learning_rate: float = 0.1
    max_tokens: int = 20_000_000  # the most recent ones are used
    seed: int = 0


@dataclass(frozen=True)
class Sessions:
    """A tokens: the accounts that users acted on, in order. Tokens of one session are contiguous."""

    account_A: Int64
    session_A: Int64

    def __len__(self) -> int:
        return len(self.account_A)

    def kept(self, keep_A: NDArray[np.bool_]) -> Sessions:
        """Only the tokens of the mask [A]."""
        return Sessions(self.account_A[keep_A], self.session_A[keep_A])


def sessions(log: EventLog, end_ms: int, gap_ms: int, max_tokens: int | None = None) -> Sessions:
    """Sessions of the positive actions before `end_ms`: one user's, with pauses below `gap_ms`; repeats in a row count once."""
    event_A = log.positives_before(end_ms)
    event_A = event_A[log.author_row_E[event_A] >= 0]
    if max_tokens is not None:
        event_A = event_A[max(0, len(event_A) - max_tokens) :]
    event_A = event_A[np.argsort(log.user_E[event_A], kind="stable")]
    account_A = log.author_row_E[event_A].astype(np.int64)
    new_user_A = np.diff(log.user_E[event_A], prepend=-1) != 0
    pause_A = np.diff(log.time_ms_E[event_A], prepend=0) >= gap_ms
    starts_A = new_user_A | pause_A
    repeat_A = (np.diff(account_A, prepend=-1) == 0) & ~starts_A
    return Sessions(account_A, np.cumsum(starts_A)).kept(~repeat_A)


def window_pairs(tokens: Sessions, window: int, random: np.random.Generator) -> tuple[Int64, Int64]:
    """Centres and contexts [P] of dynamic windows; no pair crosses a session."""
    reach_A = random.integers(1, window + 1, len(tokens))
    centres, contexts = [], []
    for distance in range(1, min(window, len(tokens) - 1) + 1):
        left, right = np.arange(len(tokens) - distance), np.arange(distance, len(tokens))
        together = tokens.session_A[left] == tokens.session_A[right]
        for centre, context in ((left, right), (right, left)):
            chosen = together & (reach_A[centre] >= distance)
            centres.append(tokens.account_A[centre[chosen]])
            contexts.append(tokens.account_A[context[chosen]])
    if not centres:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate(centres), np.concatenate(contexts)


def train_account_vectors(
    log: EventLog, end_ms: int, config: Ig2vecConfig | None = None, progress: Progress | None = None
) -> Float32:
    """Unit vectors [U, E] from the events before `end_ms`; zero for accounts that nobody acted on by then.

    Rankers use the vectors as features, so they must be trained on impressions after `end_ms` only. `progress` gets (epochs done,
    all).
    """
    config = config or Ig2vecConfig()
    tokens = sessions(log, end_ms, config.session_gap_ms, config.max_tokens)
    accounts = len(log.account_id_U)
    count_U = np.bincount(tokens.account_A, minlength=accounts)
    random = np.random.default_rng(config.seed)
    model = _SkipGram(count_U, config)
    for epoch in range(config.epochs):
        thinned = tokens.kept(random.random(len(tokens)) < _keep_share(count_U, config.subsample)[tokens.account_A])
        centre_P, context_P = window_pairs(thinned, config.window, random)
        order_P = random.permutation(len(centre_P))
        for start in range(0, len(order_P), config.batch):
            of = order_P[start : start + config.batch]
            model.step(torch.from_numpy(centre_P[of]), torch.from_numpy(context_P[of]))
        if progress is not None:
            progress(epoch + 1, config.epochs)
    return model.unit_vectors() * (count_U > 0).astype(np.float32)[:, None]


@dataclass(frozen=True)
class NeighbourQuality:
    """What the nearest neighbours of the accounts with a vector look like."""

    purity: float  # share of neighbours with the account's own main topic
    chance: float  # the same for neighbours drawn at random
    hubness: float  # largest share of all accounts that have one and the same account among their neighbours
    coverage: float  # share of all accounts that have a vector


def neighbour_quality(vector_UE: Float32, items: ItemTable, k: int = 10) -> NeighbourQuality:
    """Quality of the exact k nearest neighbours by inner product; NaN where there is nothing to judge."""
    topic_U = main_topics(items)
    known = np.flatnonzero(vector_UE.any(axis=1))
    coverage = len(known) / max(len(vector_UE), 1)
    if len(known) <= k:
        return NeighbourQuality(float("nan"), float("nan"), float("nan"), coverage)
    vector_IE, topic_I = vector_UE[known], topic_U[known]
    near_IK = np.concatenate([_neighbours(vector_IE, start, k) for start in range(0, len(known), _QUERY_CHUNK)])
    judged_I = topic_I != UNKNOWN_TOPIC
    same_IK = topic_I[near_IK] == topic_I[:, None]
    shares_T = np.bincount(topic_I[judged_I]) / max(int(judged_I.sum()), 1)
    in_degree_I = np.bincount(near_IK.ravel(), minlength=len(known))
    return NeighbourQuality(
        purity=float(same_IK[judged_I].mean()) if judged_I.any() else float("nan"),
        chance=float((shares_T**2).sum()) if judged_I.any() else float("nan"),
        hubness=float(in_degree_I.max() / len(known)),
        coverage=coverage,
    )


def main_topics(items: ItemTable) -> Int64:
    """The topic that most of an account's media have, UNKNOWN_TOPIC without any. Shape [U]."""
    accounts, topics = len(items.account_id_U), len(items.topics)
    if topics == 0:
        return np.full(accounts, UNKNOWN_TOPIC, dtype=np.int64)
    known_M = items.topic_M != UNKNOWN_TOPIC
    cell_M = items.author_row_M[known_M].astype(np.int64) * topics + items.topic_M[known_M]
    count_UT = np.bincount(cell_M, minlength=accounts * topics).reshape(accounts, topics)
    return np.where(count_UT.any(axis=1), count_UT.argmax(axis=1), UNKNOWN_TOPIC)


def _neighbours(vector_IE: Float32, start: int, k: int) -> Int64:
    """The k nearest of the rows from `start` on, themselves left out."""
    close_QI = vector_IE[start : start + _QUERY_CHUNK] @ vector_IE.T
    own_Q = np.arange(len(close_QI))
    close_QI[own_Q, own_Q + start] = -np.inf
    return np.argpartition(-close_QI, k, axis=1)[:, :k]


class _SkipGram:
    """Centre and context tables with their optimiser."""

    def __init__(self, count_U: Int64, config: Ig2vecConfig) -> None:
        self._config = config
        self._generator = torch.Generator().manual_seed(config.seed)
        shape = (len(count_U), config.dim)
        start_UE = (torch.rand(shape, generator=self._generator) - 0.5) / config.dim
        self._centres = EmbeddingTable(start_UE, config.learning_rate)
        self._contexts = EmbeddingTable(torch.zeros(shape), config.learning_rate)
        noise_U = np.where(count_U > 0, np.maximum(count_U, 1) ** float(config.noise_exponent), 0.0)
        self._noise_U = torch.from_numpy(np.cumsum(noise_U) / max(noise_U.sum(), 1e-12))

    def step(self, centre_P: Tensor, context_P: Tensor) -> None:
        drawn_K = torch.rand(self._config.shared_noise, generator=self._generator, dtype=torch.float64)
        noise_K = torch.searchsorted(self._noise_U, drawn_K).clamp_(max=len(self._noise_U) - 1)
        centre_PE = self._centres.look_up(centre_P)
        other_XE = self._contexts.look_up(torch.cat([context_P, noise_K]))
        context_PE, noise_KE = other_XE[: len(context_P)], other_XE[len(context_P) :]
        observed = F.softplus(-(centre_PE * context_PE).sum(1)).sum()
        noise = F.softplus(centre_PE @ noise_KE.T).sum() * (self._config.negatives / len(noise_K))
        (observed + noise).backward()  # type: ignore[no-untyped-call]
        self._centres.step()
        self._contexts.step()

    def unit_vectors(self) -> Float32:
        return F.normalize(self._centres.value_RD, dim=1).numpy()


def _keep_share(count_U: Int64, subsample: float) -> Float32:
    """Probability to keep a token of every account (Mikolov et al., 2013, section 2.3)."""
    share_U = count_U / max(int(count_U.sum()), 1)
    if subsample <= 0:
        return np.ones(len(count_U), dtype=np.float32)
    return np.minimum(1.0, np.sqrt(subsample / np.maximum(share_U, 1e-12))).astype(np.float32)
