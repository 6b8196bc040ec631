"""Answers to several queries as the answer to one call. Decides nothing.

Shapes: B users of the call, S sources of all queries, N candidates of all users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval_svc.sourced import Sourced
from serving.columns import CandidateColumns
from serving.ragged import Int64
from serving.wire.candidates import MAX_SOURCES


class TooManySources(ValueError):
    """The queries of one call have more sources than a column of sources can tell apart."""


@dataclass(frozen=True)
class Part:
    """What one query found for some users of a call."""

    user_X: Int64  # places in the call
    sourced: Sourced


def candidates_of(parts: Sequence[Part]) -> CandidateColumns:
    """The candidates of all users in the order of the call. Raises TooManySources."""
    if len(parts) == 1:
        return parts[0].sourced.candidates
    columns = [part.sourced.candidates for part in parts]
    sources = list(
        dict.fromkeys(pair for each in columns for pair in zip(each.sources, each.source_paths, strict=True))
    )
    if len(sources) > MAX_SOURCES:
        problem = f"have {len(sources)} sources together, at most {MAX_SOURCES} fit into a call; ask for fewer at once"
        raise TooManySources(problem)
    number = {pair: s for s, pair in enumerate(sources)}
    user_N = np.concatenate([np.repeat(part.user_X, np.diff(part.sourced.candidates.offsets)) for part in parts])
    order_N = np.argsort(user_N, kind="stable")
    source_index_N = np.concatenate([_numbers(each, number)[each.source_index_N] for each in columns])

    def joined(name: str) -> Int64:
        return np.concatenate([getattr(each, name) for each in columns])[order_N]

    users = sum(len(part.user_X) for part in parts)
    return CandidateColumns(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(user_N, minlength=users))]).astype(np.int64),
        media_id_N=joined("media_id_N"),
        author_id_N=joined("author_id_N"),
        seed_account_id_N=joined("seed_account_id_N"),
        source_index_N=source_index_N[order_N],
        score_N=joined("score_N").astype(np.float32),
        sources=tuple(name for name, _ in sources),
        source_paths=tuple(path for _, path in sources),
    )


def _numbers(
    columns: CandidateColumns, number: dict[tuple[str, str], int]
) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The joint number of every source of one part."""
    pairs = zip(columns.sources, columns.source_paths, strict=True)
    return np.array([number[pair] for pair in pairs], dtype=np.uint8)
