"""Popular media for the time when sourcing is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.actions import N_ACTIONS, Action
from features.item_table import ItemTable
from gateway.fallback import PopularMedia

AS_OF_MS = 1_000


def _items(clicks: list[float], integrity: list[float], created: list[int] | None = None) -> ItemTable:
    count = len(clicks)
    recent_MA = np.zeros((count, N_ACTIONS), dtype=np.float32)
    recent_MA[:, Action.IMPRESSION], recent_MA[:, Action.CLICK] = 100, clicks
    base_A = np.zeros(N_ACTIONS, dtype=np.float32)
    base_A[Action.CLICK] = 0.1
    return ItemTable(
        as_of_ms=AS_OF_MS,
        topics=(),
        policy_flags=(),
        media_id_M=np.arange(1, count + 1, dtype=np.int64),
        author_row_M=np.zeros(count, dtype=np.int32),
        topic_M=np.full(count, -1, dtype=np.int32),
        created_at_ms_M=np.array(created or [0] * count, dtype=np.int64),
        duration_ms_M=np.full(count, np.nan, dtype=np.float32),
        non_recommendable_M=np.array(integrity, dtype=np.float32),
        policy_flags_M=np.zeros(count, dtype=np.uint32),
        counts_MA=recent_MA,
        recent_counts_MA=recent_MA,
        media_vector_MD=np.zeros((count, 1), dtype=np.float32),
        base_rate_A=base_A,
        account_id_U=np.array([77], dtype=np.int64),
        account_counts_UA=np.zeros((1, N_ACTIONS), dtype=np.float32),
        account_n_media_U=np.ones(1, dtype=np.float32),
        account_vector_UE=np.zeros((1, 1), dtype=np.float32),
    )


def test_the_most_engaging_come_first() -> None:
    assert PopularMedia.from_items(_items([1, 9, 5], [0, 0, 0])).media_id_P.tolist() == [2, 3, 1]


def test_what_may_not_be_recommended_is_left_out() -> None:
    assert PopularMedia.from_items(_items([1, 9, 5], [0, 0.9, 0])).media_id_P.tolist() == [3, 1]


def test_a_missing_integrity_score_is_no_permission() -> None:
    assert PopularMedia.from_items(_items([1, 9], [0, np.nan])).media_id_P.tolist() == [1]


def test_an_installation_without_integrity_model_still_has_popular_media() -> None:
    assert PopularMedia.from_items(_items([1, 9], [np.nan, np.nan])).media_id_P.tolist() == [2, 1]


def test_media_that_are_not_published_yet_are_left_out() -> None:
    assert PopularMedia.from_items(_items([1, 9], [0, 0], [0, AS_OF_MS + 1])).media_id_P.tolist() == [1]


def test_seen_media_are_not_offered_again() -> None:
    popular = PopularMedia.from_items(_items([1, 9, 5], [0, 0, 0]))
    assert popular.candidates(np.array([2]), 5).media_id_N.tolist() == [3, 1]


def test_fallback_candidates_are_unscored_and_name_their_source() -> None:
    found = PopularMedia.from_items(_items([1], [0])).candidates(np.empty(0, np.int64), 5)
    assert np.isnan(found.score_N).all()
    assert (found.sources, found.author_id_N.tolist()) == (("popular_fallback",), [77])


def test_an_empty_catalogue_gives_no_candidates() -> None:
    items = replace(_items([1], [0.9]))
    assert len(PopularMedia.from_items(items).candidates(np.empty(0, np.int64), 5)) == 0
