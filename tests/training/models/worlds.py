"""Synthetic ranking sets whose signal is planted, so that a test knows what there is to learn.

Shapes: N candidates, B requests, M media, F features, L history slots, S related slots.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.context import HISTORY_LENGTH
from features.dense import FEATURES
from features.item_table import UNKNOWN_ROW, ItemTable
from features.related import RELATED_SLOTS
from training.ranking_set import RankingSet
from training.slates import Slates

torch.set_num_threads(1)  # networks this small lose more to waiting threads than they gain

N_MEDIA, N_ACCOUNTS, N_TOPICS = 300, 30, 6
DENSE_SIGNAL = [feature.name for feature in FEATURES].index("author_liked")  # a feature that all stages have
TASKS = ("click", "like", "negative")


def item_table() -> ItemTable:
    random = np.random.default_rng(99)
    media, accounts = np.zeros((N_MEDIA, N_ACTIONS), np.float32), np.zeros((N_ACCOUNTS, N_ACTIONS), np.float32)
    return ItemTable(
        as_of_ms=0,
        topics=tuple(f"topic{t}" for t in range(N_TOPICS)),
        policy_flags=(),
        media_id_M=np.arange(N_MEDIA, dtype=np.int64),
        author_row_M=random.integers(0, N_ACCOUNTS, N_MEDIA).astype(np.int32),
        topic_M=random.integers(-1, N_TOPICS, N_MEDIA).astype(np.int32),
        created_at_ms_M=np.zeros(N_MEDIA, dtype=np.int64),
        duration_ms_M=media[:, 0],
        non_recommendable_M=media[:, 0],
        policy_flags_M=np.zeros(N_MEDIA, dtype=np.uint32),
        counts_MA=media,
        recent_counts_MA=media,
        media_vector_MD=np.zeros((N_MEDIA, 4), dtype=np.float32),
        base_rate_A=np.zeros(N_ACTIONS, dtype=np.float32),
        account_id_U=np.arange(N_ACCOUNTS, dtype=np.int64),
        account_counts_UA=accounts,
        account_recent_counts_UA=accounts,
        account_n_media_U=accounts[:, 0],
        account_vector_UE=np.zeros((N_ACCOUNTS, 4), dtype=np.float32),
    )


def ranking_set(
    n_requests: int,
    seed: int = 0,
    per_request: int = 10,
    dense_weight: float = 1.5,
    sequence_weight: float = 0.0,
    related_weight: float = 0.0,
) -> RankingSet:
    """Labels follow one dense feature, whether the user's last saved item has the candidate's topic, and what the user did with
    related items long ago: save them or hide them.
    """
    random = np.random.default_rng(seed)
    shape = (n_requests, per_request)
    row_BP = random.integers(0, N_MEDIA, shape)
    dense_NF = random.normal(size=(row_BP.size, len(FEATURES))).astype(np.float32)
    dense_NF[random.random(dense_NF.shape) < 0.1] = np.nan
    history_row_BL, action_BL = _histories(random, n_requests)
    topic_M = item_table().topic_M
    liked_B = np.where(action_BL[:, -1] == Action.SAVE, topic_M[history_row_BL[:, -1]], -1)
    match_N = ((topic_M[row_BP] == liked_B[:, None]) & (liked_B[:, None] >= 0)).ravel()
    related_row_NS, related_action_NS = _related(random, row_BP.ravel(), empty=related_weight == 0)
    found_N = related_action_NS[:, -1]
    taste_N = np.select([found_N == Action.SAVE, found_N == Action.HIDE], [0.5, -0.5], 0.0)
    logit_N = dense_weight * np.nan_to_num(dense_NF[:, DENSE_SIGNAL]) + sequence_weight * (match_N - 0.5)
    logit_N += related_weight * taste_N
    offset_T = np.array([0.0, -0.5, -1.0])
    chance_NT = 1 / (1 + np.exp(-(logit_N[:, None] + offset_T)))
    return RankingSet(
        tasks=TASKS,
        dense_NF=dense_NF,
        label_NT=(random.random(chance_NT.shape) < chance_NT).astype(np.float32),
        row_N=row_BP.ravel(),
        request_N=np.repeat(np.arange(n_requests), per_request),
        user_N=np.repeat(random.integers(0, max(n_requests // 3, 1), n_requests), per_request),
        time_ms_N=np.repeat(np.arange(n_requests, dtype=np.int64), per_request),
        history_row_BL=history_row_BL,
        history_action_BL=action_BL,
        history_age_ms_BL=np.where(action_BL > 0, random.integers(0, 10**9, action_BL.shape), 0),
        related_row_NS=related_row_NS,
        related_action_NS=related_action_NS,
        related_age_hours_NS=np.where(related_action_NS > 0, 200.0, 0.0).astype(np.float32),
    )


def slates(n_slates: int, size: int = 60, seed: int = 0) -> Slates:
    rows = ranking_set(n_slates, seed, per_request=size)
    return Slates(
        offsets=np.arange(n_slates + 1, dtype=np.int64) * size,
        dense_NF=rows.dense_NF,
        row_N=rows.row_N,
        history_row_BL=rows.history_row_BL,
        history_action_BL=rows.history_action_BL,
        history_age_ms_BL=rows.history_age_ms_BL,
        related_row_NS=rows.related_row_NS,
        related_action_NS=rows.related_action_NS,
        related_age_hours_NS=rows.related_age_hours_NS,
    )


def _histories(random: np.random.Generator, n_requests: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Right-aligned, a few actions each, the newest one a save; every eighth user has none."""
    length_B = random.integers(1, 8, n_requests) * (np.arange(n_requests) % 8 != 0)
    empty_BL = np.arange(HISTORY_LENGTH)[None, :] < HISTORY_LENGTH - length_B[:, None]
    row_BL = random.integers(0, N_MEDIA, empty_BL.shape)
    action_BL = np.full(empty_BL.shape, Action.CLICK)
    action_BL[:, -1] = Action.SAVE
    return (
        np.where(empty_BL, UNKNOWN_ROW, row_BL).astype(np.int32),
        np.where(empty_BL, 0, action_BL).astype(np.uint8),
    )


def _related(
    random: np.random.Generator, row_N: NDArray[np.int64], empty: bool
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Right-aligned: a few saves or a few hides of the candidate's own row, never both; every third candidate has none."""
    length_N = random.integers(1, 6, len(row_N)) * (np.arange(len(row_N)) % 3 != 0) * (not empty)
    empty_NS = np.arange(RELATED_SLOTS)[None, :] < RELATED_SLOTS - length_N[:, None]
    action_N = random.choice(np.array([Action.SAVE, Action.HIDE]), len(row_N))
    return (
        np.where(empty_NS, UNKNOWN_ROW, row_N[:, None]).astype(np.int32),
        np.where(empty_NS, 0, action_N[:, None]).astype(np.uint8),
    )
