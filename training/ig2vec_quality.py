"""What account vectors are worth: a linear probe for topics, neighbours' topics and hubs, and how often they hold what comes next.

Reads vectors, the main topics of accounts, and sessions after the vectors' window; knows nothing of rankers or files. Undefined
measures are NaN: a log without topics, with one topic only, or without later sessions.

Shapes: U accounts, E dimensions, I accounts that have a vector, K neighbours, Q rows at a time, N accounts of the probe, C their
topics, R held-out rows, T topics of the item table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from features.item_table import UNKNOWN_TOPIC, ItemTable
from training.ig2vec import Ig2vecConfig, Progress, Sessions, train_vectors

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEIGHBOURS = 10
NEXT_ACCOUNTS = 50
_QUERY_CHUNK = 256
_MOST_ROWS = 20_000  # held-out rows: enough for an error of .003
_FOLDS = 5
_LEAST_PER_TOPIC = 10  # accounts: two per fold
_RIDGE = 1e-3  # weighs the probe's squared weights against its mean loss
_PROBE_STEPS = 100
# The control costs a second training. On longer logs both sides of the comparison are trained on the last tokens only.
_CONTROL_TOKENS = 1_000_000


@dataclass(frozen=True)
class NeighbourQuality:
    """What the nearest neighbours of the accounts with a vector look like."""

    purity: float  # share of neighbours with the account's own main topic
    chance: float  # the same for neighbours drawn at random
    hubness: float  # largest share of all accounts that have one and the same account among their neighbours
    hub_skewness: (
        float  # of how often accounts are neighbours: 0 for symmetric, above 1 for hubs (Radovanovic et al., 2010)
    )
    coverage: float  # share of all accounts that have a vector


@dataclass(frozen=True)
class Probe:
    """How well a linear model reads an account's main topic off its vector: macro-F1 on accounts that it was not fitted to."""

    macro_f1: float
    majority: float  # macro-F1 of naming the most frequent topic for everyone
    accounts: int
    topics: int


@dataclass(frozen=True)
class NextAccounts:
    """How often a session's last account is among the nearest neighbours of the one before it."""

    recall: float
    popularity: float  # the same for the most frequent accounts of the training window
    beyond_popular: float  # recall over the rows that popularity misses
    rows: int


@dataclass(frozen=True)
class Ig2vecQuality:
    """The evaluation that goes into the bundle: the probe against shuffled sessions, neighbours, what comes next."""

    probe: Probe
    probe_shuffled_macro_f1: float  # the same probe on vectors of the same tokens in shuffled sessions
    neighbours: NeighbourQuality
    next_at_50: NextAccounts


def evaluate(
    vector_UE: Float32,
    topic_U: Int64,
    *,
    tokens: Sessions,
    later: Sessions,
    config: Ig2vecConfig,
    progress: Progress | None = None,
) -> Ig2vecQuality:
    """All measures of vectors that `config` made of `tokens`; `later` are sessions after those. Trains the control too.

    `topic_U`: see `main_topics`. `progress` gets (epochs of the control done, all).
    """
    count_U = np.bincount(tokens.account_A, minlength=len(vector_UE))
    compared_UE = vector_UE
    if len(tokens) > _CONTROL_TOKENS:
        tokens = tokens.kept(np.arange(len(tokens)) >= len(tokens) - _CONTROL_TOKENS)
        compared_UE = train_vectors(tokens, len(vector_UE), config)
    control_UE = control_vectors(tokens, len(vector_UE), config, progress)
    return Ig2vecQuality(
        probe=linear_probe(compared_UE, topic_U),
        probe_shuffled_macro_f1=linear_probe(control_UE, topic_U).macro_f1,
        neighbours=neighbour_quality(vector_UE, topic_U),
        next_at_50=next_accounts(vector_UE, count_U, later),
    )


def control_vectors(tokens: Sessions, accounts: int, config: Ig2vecConfig, progress: Progress | None = None) -> Float32:
    """Vectors of the same tokens in shuffled sessions: they know how frequent an account is, and nothing of its company."""
    return train_vectors(tokens.shuffled(config.seed), accounts, replace(config, seed=config.seed + 1), progress)


def linear_probe(vector_UE: Float32, topic_U: Int64, seed: int = 0) -> Probe:
    """Multinomial logistic regression from vector to topic, five folds, over accounts with a vector and a frequent topic.

    NaN unless two topics have enough accounts.
    """
    judged_U = vector_UE.any(axis=1) & (topic_U != UNKNOWN_TOPIC)
    enough_T = np.bincount(topic_U[judged_U], minlength=1) >= _LEAST_PER_TOPIC
    row_N = np.flatnonzero(judged_U)[enough_T[topic_U[judged_U]]]
    topics, class_N = np.unique(topic_U[row_N], return_inverse=True)
    if len(topics) < 2:
        return Probe(float("nan"), float("nan"), len(row_N), len(topics))
    x_NE, guess_N = _standardised(vector_UE[row_N]), np.empty_like(class_N)
    fold_N = _folds(class_N, seed)
    for fold in range(_FOLDS):
        held_N = fold_N == fold
        guess_N[held_N] = _fit_and_guess(x_NE[~held_N], class_N[~held_N], x_NE[held_N], len(topics))
    majority_N = np.full_like(class_N, np.bincount(class_N).argmax())
    return Probe(macro_f1(class_N, guess_N), macro_f1(class_N, majority_N), len(row_N), len(topics))


def macro_f1(class_N: Int64, guess_N: Int64) -> float:
    """Mean over the C classes of the harmonic mean of precision and recall, 2 hits / (named + there)."""
    size = int(max(class_N.max(), guess_N.max())) + 1
    hits_C = np.bincount(class_N[class_N == guess_N], minlength=size)
    both_C = np.bincount(class_N, minlength=size) + np.bincount(guess_N, minlength=size)
    return float(np.mean(2 * hits_C[both_C > 0] / both_C[both_C > 0]))


def neighbour_quality(vector_UE: Float32, topic_U: Int64, k: int = NEIGHBOURS) -> NeighbourQuality:
    """Quality of the exact k nearest neighbours by inner product; NaN where there is nothing to judge."""
    known = np.flatnonzero(vector_UE.any(axis=1))
    coverage = len(known) / max(len(vector_UE), 1)
    if len(known) <= k:
        nan = float("nan")
        return NeighbourQuality(nan, nan, nan, nan, coverage)
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
        hub_skewness=float(((in_degree_I - k) ** 3).mean() / max(float(in_degree_I.std()), 1e-12) ** 3),
        coverage=coverage,
    )


def next_accounts(vector_UE: Float32, count_U: Int64, later: Sessions, k: int = NEXT_ACCOUNTS) -> NextAccounts:
    """Recall@k of every later session's last account; `count_U` are the tokens of the window that trained the vectors.

    Accounts without a vector find nothing and are not found. NaN without sessions of two accounts.
    """
    query_R, target_R = last_steps(later)
    if len(query_R) == 0:
        return NextAccounts(float("nan"), float("nan"), float("nan"), 0)
    found_R = next_hits(vector_UE, query_R, target_R, k)
    popular_R = _popular_hits(count_U, query_R, target_R, k)
    beyond = float(found_R[~popular_R].mean()) if not popular_R.all() else float("nan")
    return NextAccounts(float(found_R.mean()), float(popular_R.mean()), beyond, len(query_R))


def last_steps(later: Sessions) -> tuple[Int64, Int64]:
    """The last account of every session with at least two, and the one before it. Shapes [R], [R]; an even sample if too many."""
    same_A = np.diff(later.session_A) == 0  # as the token before
    last_R = np.flatnonzero(same_A & ~np.append(same_A[1:], False)) + 1
    if len(last_R) > _MOST_ROWS:
        last_R = last_R[np.linspace(0, len(last_R) - 1, _MOST_ROWS).astype(np.int64)]
    account_A: Int64 = later.account_A.astype(np.int64, copy=False)
    return account_A[last_R - 1], account_A[last_R]


def next_hits(vector_UE: Float32, query_R: Int64, target_R: Int64, k: int = NEXT_ACCOUNTS) -> Bools:
    """Whether the target is among the k nearest of the query, which itself does not compete. Shape [R]."""
    known_U: Bools = (vector_UE != 0).any(axis=1)
    rank_R = np.empty(len(query_R), dtype=np.int64)
    for start in range(0, len(query_R), _QUERY_CHUNK):
        query_Q, target_Q = query_R[start : start + _QUERY_CHUNK], target_R[start : start + _QUERY_CHUNK]
        close_QU = vector_UE[query_Q] @ vector_UE.T
        close_QU[:, ~known_U] = -np.inf
        own_Q = np.arange(len(query_Q))
        close_QU[own_Q, query_Q] = -np.inf
        rank_R[start : start + len(query_Q)] = (close_QU >= close_QU[own_Q, target_Q][:, None]).sum(axis=1)
    return (rank_R <= k) & known_U[query_R] & known_U[target_R]


def main_topics(items: ItemTable) -> Int64:
    """The topic that most of an account's media have, UNKNOWN_TOPIC without any. Shape [U]."""
    topic_U = np.full(len(items.account_id_U), UNKNOWN_TOPIC, dtype=np.int64)
    if not items.topics:
        return topic_U
    known_M = items.topic_M != UNKNOWN_TOPIC
    cell_M = items.author_row_M[known_M].astype(np.int64) * len(items.topics) + items.topic_M[known_M]
    # Pairs that there are, not accounts times topics: a log may have as many topics as hashtags.
    cell_X, count_X = np.unique(cell_M, return_counts=True)
    author_X, topic_X = np.divmod(cell_X, len(items.topics))
    order_X = np.lexsort((topic_X, -count_X, author_X))
    author_Y, first_Y = np.unique(author_X[order_X], return_index=True)
    topic_U[author_Y] = topic_X[order_X][first_Y]
    return topic_U


def _popular_hits(count_U: Int64, query_R: Int64, target_R: Int64, k: int) -> Bools:
    """Whether the target is among the k most frequent accounts without the query. Shape [R]."""
    place_U = np.empty(len(count_U), dtype=np.int64)
    place_U[np.argsort(-count_U, kind="stable")] = np.arange(len(count_U))
    ahead_R = place_U[target_R] - (place_U[query_R] < place_U[target_R])
    return (ahead_R < k) & (count_U[target_R] > 0)


def _neighbours(vector_IE: Float32, start: int, k: int) -> Int64:
    """The k nearest of the rows from `start` on, themselves left out."""
    close_QI = vector_IE[start : start + _QUERY_CHUNK] @ vector_IE.T
    own_Q = np.arange(len(close_QI))
    close_QI[own_Q, own_Q + start] = -np.inf
    # A copy, as a view would keep all pairs of all blocks in memory.
    return np.argpartition(-close_QI, k, axis=1)[:, :k].copy()


def _standardised(vector_NE: Float32) -> Float32:
    """Every dimension with mean 0 and spread 1, so that one ridge fits vectors of any width."""
    return (vector_NE - vector_NE.mean(axis=0)) / np.maximum(vector_NE.std(axis=0), 1e-6)


def _folds(class_N: Int64, seed: int) -> Int64:
    """A fold for everyone, every class spread evenly over them. Shape [N]."""
    order_N = np.lexsort((np.random.default_rng(seed).random(len(class_N)), class_N))
    fold_N = np.empty(len(class_N), dtype=np.int64)
    fold_N[order_N] = np.arange(len(class_N)) % _FOLDS
    return fold_N


def _fit_and_guess(x_NE: Float32, class_N: Int64, other_QE: Float32, classes: int) -> Int64:
    """The likeliest class of every other row [Q], by a regression fitted to the N rows."""
    x, y = torch.from_numpy(x_NE), torch.from_numpy(class_N)
    weight_CE = torch.zeros((classes, x_NE.shape[1]), requires_grad=True)
    bias_C = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight_CE, bias_C], max_iter=_PROBE_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(F.linear(x, weight_CE, bias_C), y) + _RIDGE * weight_CE.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return F.linear(torch.from_numpy(other_QE), weight_CE, bias_C).argmax(dim=1).numpy()
