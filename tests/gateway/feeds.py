"""Small requests and candidates that the gateway tests share. Candidate i has media 100 + i."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.feed import FeedRequest, Standing
from gateway.paging import FIRST_PAGE, Cursor
from serving.columns import CandidateColumns

NOW_MS = 1_768_000_000_000


def feed_request(
    page_size: int = 3, cursor: Cursor = FIRST_PAGE, user_id: str = "42", debug: bool = False
) -> FeedRequest:
    return FeedRequest("r1", user_id, page_size, "explore", cursor, NOW_MS, debug)


def candidates(
    score: Sequence[float], author: Sequence[int] | None = None, seed: Sequence[int] | None = None
) -> CandidateColumns:
    count = len(score)
    return CandidateColumns(
        offsets=np.array([0, count], dtype=np.int64),
        media_id_N=np.arange(100, 100 + count, dtype=np.int64),
        author_id_N=np.array(author if author is not None else range(1, count + 1), dtype=np.int64),
        seed_account_id_N=np.array(seed if seed is not None else [0] * count, dtype=np.int64),
        source_index_N=np.zeros(count, dtype=np.uint8),
        score_N=np.array(score, dtype=np.float32),
        sources=("trending",),
    )


def standing(
    score: Sequence[float], probability: Sequence[Sequence[float]] = (), tasks: tuple[str, ...] = ()
) -> Standing:
    probability_NT = np.array(probability, dtype=np.float32).reshape(len(score), len(tasks))
    return Standing(candidates(score), tasks, probability_NT)
