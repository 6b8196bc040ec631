"""Media vectors such that the mean of what a user liked lies close to what the user likes next: a two-tower model.

The user tower has no weights of its own: it is `features.history.History.media_taste_BD`, so that serving can compute it from the
item table alone. Knows media, authors and topics; knows nothing of rankers.

Shapes: M media, U accounts, T topics, D dimensions, P positives, L history slots, X distinct media of a batch,
Q positives at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from features.actions import POSITIVE_ACTIONS
from features.context import HISTORY_LENGTH
from features.history import join_history, pooled
from features.item_table import UNKNOWN_ROW, ItemTable
from training.checkpoints import Checkpoint, Snapshot
from training.columns import blocks, chunks, grouped
from training.contexts import ContextLog
from training.embedding_table import DistinctRows, EmbeddingTable
from training.event_log import EventLog

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Progress = Callable[[int, int], None]

_CHUNK = 16_384
_QUERY_CHUNK = 64


@dataclass(frozen=True)
class TwoTowerConfig:
    """Knobs of the training; the pooling itself is declared in features/history.py."""

    dim: int = 32
    # One slow pass: recall@500 on the simulated log is .334 so, .318 at a rate of 0.1, and .275 with three epochs at 0.1.
    epochs: int = 1
    batch: int = 1_024
    temperature: float = 0.1
    learning_rate: float = 0.02
    max_positives: int = 300_000  # the most recent ones are used
    seed: int = 0


@dataclass(frozen=True)
class Positives:
    """P moments at which a user liked something, with the history strictly before them."""

    target_P: Int64  # media row
    user_P: Int64
    time_ms_P: Int64
    history_row_PL: NDArray[np.int32]
    history_weight_PL: Float32  # features.history.History.weight_BL

    def __len__(self) -> int:
        return len(self.target_P)


def positives(
    log: EventLog, contexts: ContextLog, items: ItemTable, *, start_ms: int, end_ms: int, cap: int | None = None
) -> Positives:
    """The first positive action of every user on every known media item in [start_ms, end_ms), the latest `cap` of them.

    Only the first: later ones have their own target in the history. Moments without a history that says anything are left out.
    """
    event_P = _first_positives(log, end_ms)
    event_P = event_P[log.time_ms_E[event_P] >= start_ms]
    event_P = event_P if cap is None else event_P[max(0, len(event_P) - cap) :]
    user_P, time_ms_P = log.user_E[event_P].astype(np.int64), log.time_ms_E[event_P]
    row_PL: NDArray[np.int32] = log.scratch.empty((len(event_P), HISTORY_LENGTH), np.int32)
    weight_PL: Float32 = log.scratch.empty((len(event_P), HISTORY_LENGTH), np.float32)
    told_P, told = np.zeros(len(event_P), dtype=np.bool_), 0
    for of in chunks(0, len(event_P), _CHUNK):
        history = join_history(contexts.at(user_P[of], time_ms_P[of], [""] * len(user_P[of])), items)
        told_P[of] = history.weight_BL.any(axis=1)
        more = slice(told, told + int(told_P[of].sum()))
        row_PL[more], weight_PL[more] = history.row_BL[told_P[of]], history.weight_BL[told_P[of]]
        told = more.stop
    target_P = log.media_row_E[event_P].astype(np.int64)
    return Positives(target_P[told_P], user_P[told_P], time_ms_P[told_P], row_PL[:told], weight_PL[:told])


def _first_positives(log: EventLog, end_ms: int) -> Int64:
    """Places in the log of the first positive action of every user on every known media item before `end_ms`, in order."""
    event_P = log.positives_before(end_ms)
    event_P = event_P[log.media_row_E[event_P] != UNKNOWN_ROW]
    place_P, start_V = grouped(lambda of: log.user_E[event_P[of]], 0, len(event_P), len(log.user_ids), log.scratch)
    firsts = [np.empty(0, dtype=np.int64)]
    for users in blocks(start_V):
        own_X = event_P[place_P[start_V[users.start] : start_V[users.stop]]]
        pair_X = log.user_E[own_X].astype(np.int64) * len(log.media_id_M) + log.media_row_E[own_X]
        firsts.append(own_X[np.unique(pair_X, return_index=True)[1]])
    return np.sort(np.concatenate(firsts))


def train_media_vectors(
    log: EventLog,
    contexts: ContextLog,
    items: ItemTable,
    *,
    end_ms: int,
    config: TwoTowerConfig | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Float32:
    """Unit vectors [M, D] from the events before `end_ms`; zero for media of which neither id, author nor topic is known.

    Of `items` only the static columns are read. Media that nobody acted on get author and topic. Rankers use the vectors as
    features, so they must be trained on impressions after `end_ms` only. `progress` gets (batches done, all).
    `checkpoint` is where training goes on, and what gets the state after every epoch.
    """
    config = config or TwoTowerConfig()
    examples = positives(log, contexts, items, start_ms=0, end_ms=end_ms, cap=config.max_positives)
    model = _Towers(items, examples, config)
    random = np.random.default_rng(config.seed)
    batches = -(-len(examples) // config.batch)
    kept = checkpoint.load() if checkpoint is not None else None
    if kept is not None:
        model.restore(kept.arrays)
        random.bit_generator.state = kept.notes["random"]
    for epoch in range(kept.notes["epochs"] if kept is not None else 0, config.epochs):
        order_P = random.permutation(len(examples))
        for batch in range(batches):
            model.step(order_P[batch * config.batch : (batch + 1) * config.batch])
            if progress is not None:
                progress(epoch * batches + batch + 1, config.epochs * batches)
        if checkpoint is not None:
            notes = {"epochs": epoch + 1, "random": random.bit_generator.state}
            checkpoint.save(Snapshot(model.state(), notes), f"epoch {epoch + 1} of {config.epochs} done")
    return model.vectors()


def next_positive_recall(
    vector_MD: Float32, items: ItemTable, examples: Positives, k: int = 500
) -> tuple[float, float]:
    """Share of the targets among the k media next to the user's vector, and among the k most popular ones in `items`.

    Only media that exist at a target's moment compete, without those already in the history.
    """
    popular_M = items.counts_MA[:, sorted(POSITIVE_ACTIONS)].sum(axis=1)
    found = popular_found = 0
    for start in range(0, len(examples), _QUERY_CHUNK):
        of = slice(start, start + _QUERY_CHUNK)
        row_QL, weight_QL = examples.history_row_PL[of].astype(np.int64), examples.history_weight_PL[of]
        taste_QD = pooled(vector_MD, row_QL, weight_QL)
        open_QM = items.created_at_ms_M[None, :] <= examples.time_ms_P[of, None]
        query_QL = np.broadcast_to(np.arange(len(row_QL))[:, None], row_QL.shape)
        open_QM[query_QL[row_QL >= 0], row_QL[row_QL >= 0]] = False
        target_Q = examples.target_P[of]
        found += _hits(np.where(open_QM, taste_QD @ vector_MD.T, -np.inf), target_Q, k)
        popular_found += _hits(np.where(open_QM, popular_M[None, :], -np.inf), target_Q, k)
    n = max(len(examples), 1)
    return found / n, popular_found / n


def _hits(score_QM: Float32, target_Q: Int64, k: int) -> int:
    """How many targets score among the best k of their row; of equals, half count as better."""
    own_Q1 = np.take_along_axis(score_QM, target_Q[:, None], axis=1)
    better_Q, equal_Q = (score_QM > own_Q1).sum(axis=1), (score_QM == own_Q1).sum(axis=1) - 1
    return int((np.isfinite(own_Q1[:, 0]) & (better_Q + equal_Q / 2 < k)).sum())


class _Towers:
    """Id, author and topic tables. Their sum, normalised, is an item's vector."""

    def __init__(self, items: ItemTable, examples: Positives, config: TwoTowerConfig) -> None:
        self._config, self._examples = config, examples
        generator = torch.Generator().manual_seed(config.seed)
        seen_M = np.zeros(len(items.media_id_M), dtype=np.bool_)
        seen_M[examples.target_P] = True
        for of in chunks(0, len(examples), _CHUNK):
            seen_M[examples.history_row_PL[of][examples.history_weight_PL[of] != 0]] = True
        author_M = items.author_row_M.astype(np.int64)
        self._author_M, topic_M = torch.from_numpy(author_M), items.topic_M.astype(np.int64)
        # Row 0 of the topic table stands for "unknown" and stays zero.
        self._topic_M = torch.from_numpy(topic_M + 1)
        seen_U = np.bincount(author_M[seen_M], minlength=len(items.account_id_U)) > 0
        seen_T = np.bincount(topic_M[seen_M] + 1, minlength=len(items.topics) + 1) > 0
        seen_T[0] = False
        # What training never sees stays zero instead of keeping its random start.
        self._rows = DistinctRows(len(seen_M))
        rate = config.learning_rate
        self._ids = EmbeddingTable(torch.zeros((len(seen_M), config.dim)), rate)
        self._authors = EmbeddingTable(_start(seen_U, config.dim, generator), rate)
        self._topics = EmbeddingTable(_start(seen_T, config.dim, generator), rate)
        count_M = np.bincount(examples.target_P, minlength=len(seen_M))
        self._log_share_M = torch.from_numpy(np.log(np.maximum(count_M, 1) / max(len(examples), 1))).float()

    def step(self, of: Int64) -> None:
        """One batch: every target against the targets of the others, corrected for how often a target is drawn as one."""
        target_P = torch.from_numpy(self._examples.target_P[of])
        row_PL = torch.from_numpy(np.maximum(self._examples.history_row_PL[of], 0).astype(np.int64))
        weight_PL = torch.from_numpy(self._examples.history_weight_PL[of])
        row_X, place = self._rows.of(torch.cat([row_PL.flatten(), target_P]))
        vector_XD = self._item_vectors(row_X)
        user_PD = pool(place[: row_PL.numel()].view_as(row_PL), weight_PL, vector_XD)
        target_PD = vector_XD[place[row_PL.numel() :]]
        # logQ correction (Yi et al., RecSys 2019, section 4.2).
        logit_PP = user_PD @ target_PD.T / self._config.temperature - self._log_share_M[target_P]
        twin_PP = (target_P[:, None] == target_P[None, :]).fill_diagonal_(False)
        loss = F.cross_entropy(logit_PP.masked_fill(twin_PP, -torch.inf), torch.arange(len(target_P)))
        loss.backward()  # type: ignore[no-untyped-call]
        for table in (self._ids, self._authors, self._topics):
            table.step()

    def state(self) -> dict[str, NDArray[Any]]:
        """What the next step depends on, apart from its batch."""
        return self._ids.state("ids") | self._authors.state("authors") | self._topics.state("topics")

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, table in (("ids", self._ids), ("authors", self._authors), ("topics", self._topics)):
            table.restore(name, state)

    def vectors(self) -> Float32:
        own_MD, author_MD = self._ids.value_RD, self._authors.value_RD[self._author_M]
        return F.normalize(own_MD + author_MD + self._topics.value_RD[self._topic_M], dim=1).numpy()

    def _item_vectors(self, row_X: Tensor) -> Tensor:
        author_XD = self._authors.look_up(self._author_M[row_X])
        topic_X = self._topic_M[row_X]
        topic_XD = self._topics.look_up(topic_X) * (topic_X > 0)[:, None]
        return F.normalize(self._ids.look_up(row_X) + author_XD + topic_XD, dim=1)


def pool(row_PL: Tensor, weight_PL: Tensor, vector_XD: Tensor) -> Tensor:
    """`features.history.History.media_taste_BD` for torch: the unit vector of the weighted sum of the history. Shape [P, D]."""
    share_PL = weight_PL / weight_PL.abs().amax(dim=1, keepdim=True)  # tiny weights would vanish in the norm
    summed_P1D = share_PL[:, None, :] @ F.embedding(row_PL, vector_XD)
    return F.normalize(summed_P1D[:, 0], dim=1)


def _start(seen_X: NDArray[np.bool_], dim: int, generator: torch.Generator) -> Tensor:
    table_XD = torch.randn((len(seen_X), dim), generator=generator) * 0.1
    return table_XD * torch.from_numpy(seen_X)[:, None]
