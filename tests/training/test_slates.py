"""Slates: features as serving computes them, ragged columns that fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.actions import N_ACTIONS
from features.context import UserContexts
from features.dense import FEATURES, NEUTRAL_POSITION
from features.recency import N_WINDOWS
from features.relations import NO_ACCOUNT, no_relations
from tests.training.models.worlds import item_table, slates
from training.slates import join, slates_of

CONTEXTS = UserContexts(
    user_ids=("a", "b", "c"),
    request_time_ms_B=np.full(3, 10**9, dtype=np.int64),
    surfaces=("explore",) * 3,
    history_offsets=np.array([0, 2, 2, 3]),
    history_media_id_H=np.array([4, 5, 6]),
    history_action_H=np.array([2, 4, 2], dtype=np.uint8),
    history_time_ms_H=np.array([1, 2, 3]),
    action_counts_BA=np.zeros((3, N_ACTIONS), dtype=np.uint32),
    recent_counts_BWA=np.zeros((3, N_WINDOWS, N_ACTIONS), dtype=np.float32),
    registered_at_ms_B=np.full(3, -1),
    n_following_B=np.full(3, -1),
    n_followers_B=np.full(3, -1),
    segments=("",) * 3,
    account_id_B=np.full(3, NO_ACCOUNT),
    **no_relations(3),
)
ROW_N, USER_N = np.array([7, 8, 9]), np.array([0, 0, 2])


def test_a_slate_has_its_users_history_and_stands_at_the_neutral_position() -> None:
    made = slates_of(CONTEXTS, item_table(), ROW_N, USER_N)
    position = [feature.name for feature in FEATURES].index("position")
    assert made.offsets.tolist() == [0, 2, 2, 3]
    assert made.history_row_BL[:, -1].tolist() == [5, -1, 6]
    assert set(made.dense_NF[:, position]) == {NEUTRAL_POSITION}


def test_joined_slates_are_the_slates_of_all_parts() -> None:
    made = slates_of(CONTEXTS, item_table(), ROW_N, USER_N)
    both = join([made, made])
    assert both.offsets.tolist() == [0, 2, 2, 3, 5, 5, 6]
    assert both.request_N.tolist() == [0, 0, 2, 3, 3, 5]


def test_padding_keeps_every_value_in_its_slate() -> None:
    made = slates_of(CONTEXTS, item_table(), ROW_N, USER_N)
    assert made.padded(np.array([1.0, 2.0, 3.0]), 0).tolist() == [[1, 2], [0, 0], [3, 0]]


def test_candidates_of_one_user_must_lie_together() -> None:
    with pytest.raises(ValueError, match="never decrease"):
        slates_of(CONTEXTS, item_table(), ROW_N, np.array([0, 2, 0]))


def test_columns_of_different_lengths_are_refused() -> None:
    made = slates(2)
    with pytest.raises(ValueError, match="different lengths"):
        replace(made, row_N=made.row_N[1:])
