"""Embedding tables of media, accounts and topics while they are trained. Serving gathers the same rows from .npy files.

Shapes: M media, U accounts, T topics, X any shape of item rows, K = total width of one item's embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.embeddings import ItemEmbeddings
from features.item_table import ItemTable
from training.columns import chunks

# Few accounts and topics explain most of who likes what, so they start large enough for target attention to see which items share
# one; a media vector starts small, as most are rare and noise is all that they would add.
_MEDIA_STD = 0.05
_GROUP_STD = 0.3


@dataclass(frozen=True)
class EmbeddingConfig:
    """Widths, and how often an id must occur in training before it gets a vector of its own."""

    media_width: int = 16
    account_width: int = 16
    topic_width: int = 8
    min_occurrences: int = 5
    media_dropout: float = 0.1  # share of candidates whose media vector reads "unknown" in training
    trained_unknown: bool = False  # whether ids without a vector share a trained one; otherwise zeros

    # Off, as docs/benchmarks/architectures.md has it: a gain on media that training never showed, a loss on those it showed rarely.

    def __post_init__(self) -> None:
        """Raises ValueError for an admission count that would admit ids that never occur."""
        if self.min_occurrences < 1:
            raise ValueError(f"EmbeddingConfig.min_occurrences must be at least 1, got {self.min_occurrences}")

    @property
    def width(self) -> int:
        """K, the width of one item."""
        return self.media_width + self.account_width + self.topic_width


class IdEmbeddings(nn.Module):
    """The trainable form of `features.embeddings.ItemEmbeddings`.

    Ids that occur less than `min_occurrences` times share one vector, as in Monolith's admission (algorithms.md, section 5), and
    so do rows and topics that are not known at all: the model learns what to make of an unknown item from the rare ones and from
    media vectors hidden in training, and serving hands it the same vector for items newer than the model. It starts at zero and
    stays there unless it is trained, too (`trained_unknown`). Admitted rows start with noise.
    """

    author_M: Tensor
    topic_M: Tensor

    def __init__(self, items: ItemTable, count_M: NDArray[np.int64], config: EmbeddingConfig) -> None:
        """`count_M`: how often every media item occurs in training, as a candidate and in histories; see `occurrences`."""
        super().__init__()
        self.config = config
        self.register_buffer("author_M", _closed(items.author_row_M, -1))
        self.register_buffer("topic_M", _closed(items.topic_M, -1))
        account_U = _of_groups(items.author_row_M, count_M, len(items.account_id_U))
        topic_T = _of_groups(items.topic_M, count_M, len(items.topics))
        least = config.min_occurrences
        trained = config.trained_unknown
        self.media = _Table(count_M >= least, config.media_width, _MEDIA_STD, trained)
        self.account = _Table(account_U >= least, config.account_width, _GROUP_STD, trained)
        self.topic = _Table(topic_T >= least, config.topic_width, _GROUP_STD, trained)

    def forward(self, row_X: Tensor) -> Tensor:
        """Vectors [*X, K]; the shared ones for row -1 and for ids that were not admitted."""
        return torch.cat([self.media(row_X), self.groups(row_X)], dim=-1)

    def groups(self, row_X: Tensor) -> Tensor:
        """Vectors of author and topic alone."""
        return torch.cat([self.account(self.author_M[row_X]), self.topic(self.topic_M[row_X])], dim=-1)

    def candidates(self, row_N: Tensor) -> Tensor:
        """Vectors [N, K]; in training some media vectors are hidden, so that author and topic learn to stand alone."""
        if not self.training:
            return self(row_N)
        hidden_N = torch.rand(len(row_N)) < self.config.media_dropout
        media_NK = self.media(torch.where(hidden_N, -1, row_N))
        return torch.cat([media_NK, self.groups(row_N)], dim=-1)

    def tables(self) -> ItemEmbeddings:
        """The tables in the form that serving reads, aligned with the rows of the item table."""
        unknown_K = np.concatenate([table.unknown() for table in (self.media, self.account, self.topic)])
        return ItemEmbeddings(self.media.rows(), self.account.rows(), self.topic.rows(), unknown_K)


class _Table(nn.Module):
    """One id space. Slot 0 is the vector of everything that was not admitted: trained, or zero for good."""

    slot_I: Tensor

    def __init__(self, admitted_I: NDArray[np.bool_], width: int, std: float, trained_unknown: bool) -> None:
        super().__init__()
        self.register_buffer("slot_I", _closed(np.where(admitted_I, np.cumsum(admitted_I), 0), 0))
        never = None if trained_unknown else 0
        self.embedding = nn.Embedding(int(admitted_I.sum()) + 1, width, padding_idx=never, sparse=True)
        nn.init.normal_(self.embedding.weight, std=std)
        self.embedding.weight.data[0] = 0

    def forward(self, id_X: Tensor) -> Tensor:
        return self.embedding(self.slot_I[id_X])

    def rows(self) -> NDArray[np.float32]:
        rows_IK: NDArray[np.float32] = self.embedding.weight.detach()[self.slot_I[:-1]].numpy()
        return rows_IK

    def unknown(self) -> NDArray[np.float32]:
        unknown_K: NDArray[np.float32] = self.embedding.weight.detach()[0].numpy()
        return unknown_K


def occurrences(n_media: int, *columns: NDArray[np.integer]) -> NDArray[np.int64]:
    """How often every item row occurs in `columns`; -1 is skipped. Shape [M]."""
    count_M = np.zeros(n_media, dtype=np.int64)
    for column in columns:
        for of in chunks(0, len(column)):
            row_X = column[of]
            count_M += np.bincount(row_X[row_X >= 0], minlength=n_media)
    return count_M


def _of_groups(id_M: NDArray[np.integer], count_M: NDArray[np.int64], n_ids: int) -> NDArray[np.float64]:
    known_M = id_M >= 0
    return np.bincount(id_M[known_M], weights=count_M[known_M], minlength=n_ids).astype(np.float64)


def _closed(column: NDArray[np.integer], unknown: int) -> Tensor:
    """The column with one more entry, so that index -1 (an unknown row) reads `unknown`."""
    return torch.from_numpy(np.append(column, unknown).astype(np.int64))
