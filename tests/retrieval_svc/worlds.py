"""Catalogues for tests: one small enough to compute by hand, and random ones for properties."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import UserContexts, concatenate
from features.counters import DAY_MS, HOUR_MS
from features.item_table import ItemTable
from features.user_state import HISTORY_RECORD, Profile, UserState
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.ragged import Int64

NOW = 1_700_000_000_000
NOBODY_SAW = np.empty(0, dtype=np.int64)

HistoryRow = tuple[int, Action, int]  # media id, action, milliseconds


def hand_made() -> ItemTable:
    """Accounts 10, 20, 30, 40 with media 100 .. 102, 200 .. 202 and so on; the higher the last digit, the newer and the better.

    20 is close to 10 and 40 to 30. 10 and 20 post about food, 30 and 40 about art. 402 must not be recommended.
    """
    media_id_M = np.array([account * 10 + i for account in (10, 20, 30, 40) for i in range(3)])
    counts_MA = np.zeros((12, N_ACTIONS), dtype=np.float32)
    counts_MA[:, Action.IMPRESSION] = 100
    counts_MA[:, Action.CLICK] = 10 + 10 * (media_id_M % 10) + media_id_M // 100
    account_counts_UA = counts_MA.reshape(4, 3, N_ACTIONS).sum(axis=1)
    risk_M = np.where(media_id_M == 402, 0.9, 0.1).astype(np.float32)
    return ItemTable(
        as_of_ms=NOW,
        topics=("food", "art"),
        policy_flags=(),
        media_id_M=media_id_M,
        author_row_M=np.repeat(np.arange(4, dtype=np.int32), 3),
        topic_M=np.repeat(np.arange(2, dtype=np.int32), 6),
        created_at_ms_M=NOW - HOUR_MS * (100 - 10 * (media_id_M % 10) - media_id_M // 100),
        duration_ms_M=np.full(12, 9000, dtype=np.float32),
        non_recommendable_M=risk_M,
        policy_flags_M=np.zeros(12, dtype=np.uint32),
        counts_MA=counts_MA,
        recent_counts_MA=(counts_MA / 2).astype(np.float32),
        media_vector_MD=np.eye(12, dtype=np.float32),
        base_rate_A=(counts_MA.sum(axis=0) / 1200).astype(np.float32),
        account_id_U=np.array([10, 20, 30, 40]),
        account_counts_UA=account_counts_UA,
        account_n_media_U=np.full(4, 3, dtype=np.float32),
        account_vector_UE=np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], dtype=np.float32),
    )


def random_items(seed: int, media: int = 300, accounts: int = 30, topics: int = 5) -> ItemTable:
    """A catalogue without structure: some media without topic or integrity score, one account without a vector."""
    draw = np.random.default_rng(seed)
    author_row_M = draw.integers(0, accounts, media).astype(np.int32)
    counts_MA = draw.poisson(3, (media, N_ACTIONS)).astype(np.float32)
    counts_MA[:, Action.IMPRESSION] += 50
    account_counts_UA = np.zeros((accounts, N_ACTIONS), dtype=np.float32)
    np.add.at(account_counts_UA, author_row_M, counts_MA)
    vector_UE = draw.normal(size=(accounts, 8)).astype(np.float32)
    vector_UE /= np.linalg.norm(vector_UE, axis=1, keepdims=True)
    vector_UE[0] = 0
    return ItemTable(
        as_of_ms=NOW,
        topics=tuple(f"topic-{t}" for t in range(topics)),
        policy_flags=(),
        media_id_M=np.sort(draw.choice(10 * media, media, replace=False)).astype(np.int64) + 1,
        author_row_M=author_row_M,
        topic_M=draw.integers(-1, topics, media).astype(np.int32),
        created_at_ms_M=NOW - draw.integers(-DAY_MS, 30 * DAY_MS, media),
        duration_ms_M=np.full(media, 9000, dtype=np.float32),
        non_recommendable_M=np.where(draw.random(media) < 0.1, np.nan, draw.beta(1, 12, media)).astype(np.float32),
        policy_flags_M=np.zeros(media, dtype=np.uint32),
        counts_MA=counts_MA,
        recent_counts_MA=(counts_MA * draw.random((media, 1))).astype(np.float32),
        media_vector_MD=np.zeros((media, 4), dtype=np.float32),
        base_rate_A=(counts_MA.sum(axis=0) / max(counts_MA[:, Action.IMPRESSION].sum(), 1)).astype(np.float32),
        account_id_U=np.arange(accounts, dtype=np.int64) + 1,
        account_counts_UA=account_counts_UA,
        account_n_media_U=np.bincount(author_row_M, minlength=accounts).astype(np.float32),
        account_vector_UE=vector_UE,
    )


def account_files(items: ItemTable) -> tuple[faiss.Index, Int64, Int64, Int64]:
    """Exact index, its rows, and the posting lists of a table: offsets and media rows."""
    index_rows_I = np.flatnonzero(items.account_vector_UE.any(axis=1))
    index = faiss.IndexFlatIP(items.account_vector_UE.shape[1])
    index.add(items.account_vector_UE[index_rows_I])
    size_U = np.bincount(items.author_row_M, minlength=len(items.account_id_U))
    row_M = np.lexsort((-items.created_at_ms_M, items.author_row_M))
    return index, index_rows_I, np.concatenate([[0], np.cumsum(size_U)]).astype(np.int64), row_M


def catalogue_of(items: ItemTable) -> Catalogue:
    """The table as sourcing sees it."""
    return Catalogue.assemble(items, *account_files(items))


def user(name: str = "ann", history: Sequence[HistoryRow] = (), at_ms: int = NOW) -> UserContexts:
    """One user with a history, oldest action first."""
    history_H = np.array([(media, int(action), time) for media, action, time in history], dtype=HISTORY_RECORD)
    state = UserState(Profile(), history_H, np.zeros(N_ACTIONS, dtype=np.uint32), NOBODY_SAW)
    return state.context(name, at_ms, "explore")


def likes(*media_ids: int) -> list[HistoryRow]:
    """A history of likes, a minute apart, the last one a minute ago."""
    return [(media, Action.LIKE, NOW - 60_000 * (len(media_ids) - i)) for i, media in enumerate(media_ids)]


def random_users(items: ItemTable, seed: int, users: int) -> tuple[UserContexts, list[Int64]]:
    """Users with up to 50 actions on known and unknown media, and up to half of the catalogue seen."""
    draw = np.random.default_rng(seed)
    pool = np.append(items.media_id_M, items.media_id_M[-1] + 1)
    actions = sorted(HISTORY_ACTIONS)
    contexts, seen_B = [], []
    for b in range(users):
        length = int(draw.choice([0, 1, 10, 50]))
        times = np.sort(NOW - draw.integers(1, 10 * DAY_MS, length))
        rows = [(int(draw.choice(pool)), actions[draw.integers(len(actions))], int(t)) for t in times]
        contexts.append(user(f"user-{b}", rows))
        seen_B.append(draw.choice(pool, int(draw.choice([0, 5, len(pool) // 2])), replace=False))
    return concatenate(contexts), seen_B
