"""What sourcing answers: candidates, and an account of every proposal. Puts rounds of proposals together; decides nothing.

Shapes: B users, S sources, R reasons, P proposals of all users, N candidates of all users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.item_table import ItemTable
from retrieval_svc.ragged import Int64, offsets_of
from serving.columns import CandidateColumns

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class SourcingReports:
    """What became of every proposal of B users: proposed = kept + the sum of dropped."""

    sources: tuple[str, ...]
    reasons: tuple[str, ...]
    proposed_BS: Int64
    kept_BS: Int64
    dropped_BSR: Int64


@dataclass(frozen=True)
class Sourced:
    """Candidates of B users, best first within a user, and how they were found."""

    candidates: CandidateColumns
    reports: SourcingReports


@dataclass(frozen=True)
class Pool:
    """The proposals of all sources, grouped by user, then source, best first within a source."""

    proposed_BS: Int64
    user_P: Int64
    source_P: Int64
    media_row_P: Int64
    seed_account_id_P: Int64


@dataclass(frozen=True)
class Round:
    """One turn of asking all sources. Users who are `unfinished_B` ask again, for more, and this turn does not count for them."""

    pool: Pool
    reason_P: Int64  # below 0: not refused
    row_N: Int64  # proposals that were taken, best first within a user
    score_N: Float32
    answered_B: Bool
    unfinished_B: Bool


def assemble(
    rounds: Sequence[Round], users: int, sources: tuple[str, ...], reasons: tuple[str, ...], items: ItemTable
) -> Sourced:
    """Every user's answer from the round that finished it."""
    shape = (users, len(sources), len(reasons))
    proposed_BS, kept_BS = np.zeros(shape[:2], dtype=np.int64), np.zeros(shape[:2], dtype=np.int64)
    dropped_BSR = np.zeros(shape, dtype=np.int64)
    for done in rounds:
        pool, counts_P = done.pool, done.answered_B[done.pool.user_P]
        proposed_BS += pool.proposed_BS * done.answered_B[:, None]
        row_N = done.row_N[counts_P[done.row_N]]
        kept_BS += _histogram((pool.user_P[row_N], pool.source_P[row_N]), shape[:2])
        row_D = np.flatnonzero(counts_P & (done.reason_P >= 0))
        dropped_BSR += _histogram((pool.user_P[row_D], pool.source_P[row_D], done.reason_P[row_D]), shape)
    reports = SourcingReports(sources, reasons, proposed_BS, kept_BS, dropped_BSR)
    return Sourced(_candidates(rounds, users, sources, items), reports)


def _candidates(rounds: Sequence[Round], users: int, sources: tuple[str, ...], items: ItemTable) -> CandidateColumns:
    counted = [done.answered_B[done.pool.user_P[done.row_N]] for done in rounds]
    row_of = [done.row_N[counted_N] for done, counted_N in zip(rounds, counted, strict=True)]

    def joined(name: str) -> Int64:
        columns = [getattr(done.pool, name)[row_N] for done, row_N in zip(rounds, row_of, strict=True)]
        return np.concatenate([np.empty(0, dtype=np.int64), *columns])

    score_N = [done.score_N[counted_N] for done, counted_N in zip(rounds, counted, strict=True)]
    user_N, media_row_N = joined("user_P"), joined("media_row_P")
    order_N = np.argsort(user_N, kind="stable")
    media_row_N = media_row_N[order_N]
    return CandidateColumns(
        offsets=offsets_of(user_N, users),
        media_id_N=items.media_id_M[media_row_N],
        author_id_N=items.account_id_U[items.author_row_M[media_row_N]],
        seed_account_id_N=joined("seed_account_id_P")[order_N],
        source_index_N=joined("source_P")[order_N].astype(np.uint8),
        score_N=np.concatenate([np.empty(0, dtype=np.float32), *score_N])[order_N],
        sources=sources,
    )


def _histogram(index: tuple[Int64, ...], shape: tuple[int, ...]) -> Int64:
    return np.bincount(np.ravel_multi_index(index, shape), minlength=int(np.prod(shape))).reshape(shape)
