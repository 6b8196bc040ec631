"""Small requests, candidates and item tables that the gateway tests share. Candidate i has media 100 + i."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.actions import N_ACTIONS, Action
from features.exposures import Exposure
from features.item_table import ItemTable
from gateway.feed import FeedRequest, Standing
from gateway.paging import FIRST_PAGE, Cursor
from serving.columns import CandidateColumns

NOW_MS = 1_768_000_000_000
AS_OF_MS = 1_000  # of the item table


def feed_request(
    page_size: int = 3, cursor: Cursor = FIRST_PAGE, user_id: str = "42", debug: bool = False
) -> FeedRequest:
    return FeedRequest("r1", user_id, page_size, "explore", cursor, NOW_MS, debug)


def exposure(*media_ids: int) -> Exposure:
    """A page of these media, nothing of which was random."""
    shown_K = np.array(media_ids, dtype=np.int64)
    places_K, ones_K = np.arange(len(shown_K)), np.ones(len(shown_K))
    return Exposure("r1", "42", NOW_MS, "explore", {}, 1.0, "v1", shown_K, places_K, ones_K)


def candidates(
    score: Sequence[float],
    author: Sequence[int] | None = None,
    seed: Sequence[int] | None = None,
    path: str = "trending > mix",
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
        source_paths=(path,) if path else (),
    )


def standing(
    score: Sequence[float], probability: Sequence[Sequence[float]] = (), tasks: tuple[str, ...] = ()
) -> Standing:
    probability_NT = np.array(probability, dtype=np.float32).reshape(len(score), len(tasks))
    return Standing(candidates(score), tasks, probability_NT)


def popular_items(
    clicks: Sequence[float],
    integrity: Sequence[float],
    created: Sequence[int] | None = None,
    *,
    author_rows: Sequence[int] | None = None,
    flags: Sequence[int] | None = None,
) -> ItemTable:
    """Media 1, 2, 3 ... with 100 impressions each, of the accounts 77 (if nothing else is said) and 78."""
    count = len(clicks)
    recent_MA = np.zeros((count, N_ACTIONS), dtype=np.float32)
    recent_MA[:, Action.IMPRESSION], recent_MA[:, Action.CLICK] = 100, clicks
    base_A = np.zeros(N_ACTIONS, dtype=np.float32)
    base_A[Action.CLICK] = 0.1
    return ItemTable(
        as_of_ms=AS_OF_MS,
        topics=(),
        policy_flags=("satire", "graphic"),
        media_id_M=np.arange(1, count + 1, dtype=np.int64),
        author_row_M=np.array(author_rows or [0] * count, dtype=np.int32),
        topic_M=np.full(count, -1, dtype=np.int32),
        created_at_ms_M=np.array(created or [0] * count, dtype=np.int64),
        duration_ms_M=np.full(count, np.nan, dtype=np.float32),
        non_recommendable_M=np.array(integrity, dtype=np.float32),
        policy_flags_M=np.array(flags or [0] * count, dtype=np.uint32),
        counts_MA=recent_MA,
        recent_counts_MA=recent_MA,
        media_vector_MD=np.zeros((count, 1), dtype=np.float32),
        base_rate_A=base_A,
        account_id_U=np.array([77, 78], dtype=np.int64),
        account_counts_UA=np.zeros((2, N_ACTIONS), dtype=np.float32),
        account_recent_counts_UA=np.zeros((2, N_ACTIONS), dtype=np.float32),
        account_n_media_U=np.ones(2, dtype=np.float32),
        account_vector_UE=np.zeros((2, 1), dtype=np.float32),
    )
