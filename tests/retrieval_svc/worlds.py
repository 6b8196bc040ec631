"""Catalogues for tests: one small enough to compute by hand, and random ones for properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import UserContexts, concatenate
from features.counters import DAY_MS, HOUR_MS
from features.item_table import ItemTable
from features.relations import Relation
from features.user_state import HISTORY_RECORD, Profile, UserState
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.neighbours import AccountNeighbours
from retrieval_svc.tables import Lists, SourcingTables
from retrieval_svc.vector_index import VectorIndex
from serving.ragged import Int64

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
        account_recent_counts_UA=account_counts_UA,
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
    vector_UE = _unit(draw, accounts, 8)
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
        media_vector_MD=_unit(draw, media, 4),
        base_rate_A=(counts_MA.sum(axis=0) / max(counts_MA[:, Action.IMPRESSION].sum(), 1)).astype(np.float32),
        account_id_U=np.arange(accounts, dtype=np.int64) + 1,
        account_counts_UA=account_counts_UA,
        account_recent_counts_UA=account_counts_UA,
        account_n_media_U=np.bincount(author_row_M, minlength=accounts).astype(np.float32),
        account_vector_UE=vector_UE,
    )


def _unit(draw: np.random.Generator, rows: int, width: int) -> NDArray[np.float32]:
    vectors = draw.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def exact_index(vectors: NDArray[np.float32]) -> tuple[faiss.Index, Int64]:
    """A scan over the rows that have a vector, and those rows."""
    row_I = np.flatnonzero(vectors.any(axis=1))
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors[row_I]))
    return index, row_I


def index_of(vectors: NDArray[np.float32], version: str = "v1") -> VectorIndex:
    """An exact index of the rows that have a vector."""
    return VectorIndex(*exact_index(vectors), vectors, version)


def neighbour_lists(items: ItemTable, listed: int = 50) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    """Neighbour lists made by an exact scan: account rows and cosines."""
    vector_UE = items.account_vector_UE
    cosine_UU = vector_UE @ vector_UE.T
    np.fill_diagonal(cosine_UU, -1)
    order_UK = np.argsort(-cosine_UU, axis=1, kind="stable")[:, :listed]
    cosine_UK = np.take_along_axis(cosine_UU, order_UK, axis=1)
    found_UK = cosine_UK > 0
    return np.where(found_UK, order_UK, -1).astype(np.int32), np.where(found_UK, cosine_UK, 0).astype(np.float16)


def accounts_of(items: ItemTable) -> AccountNeighbours:
    """Neighbours by their lists."""
    return AccountNeighbours(*neighbour_lists(items), index_of(items.account_vector_UE))


def tables_of(items: ItemTable, seed: int = 0) -> SourcingTables:
    """Posting lists as they are, and other lists without meaning: random rows of random length, some of them empty."""
    draw = np.random.default_rng(seed)
    media, accounts = len(items.media_id_M), len(items.account_id_U)

    def lists(keys: int, rows: int, most: int) -> Lists:
        size_K = draw.integers(0, min(most, rows) + 1, keys) if rows else np.zeros(keys, dtype=np.int64)
        row_X = [draw.permutation(rows)[:size] for size in size_K]
        score_X = [np.sort(draw.uniform(0.1, 1, size))[::-1] for size in size_K]
        empty = np.empty(0)
        return Lists(
            np.concatenate([[0], np.cumsum(size_K)]).astype(np.int64),
            np.concatenate([empty, *row_X]).astype(np.int32),
            np.concatenate([empty, *score_X]).astype(np.float32),
        )

    size_U = np.bincount(items.author_row_M, minlength=accounts)
    posted = Lists(
        np.concatenate([[0], np.cumsum(size_U)]).astype(np.int64),
        np.lexsort((-items.created_at_ms_M, items.author_row_M)).astype(np.int32),
    )
    windows_ms = (DAY_MS, 2 * DAY_MS, 7 * DAY_MS)
    return SourcingTables(
        posted=posted,
        co_occurring=lists(media, media, 8),
        follows=lists(accounts, accounts, 5),
        engaged=lists(accounts, media, 6),
        windows_ms=windows_ms,
        window_value_WM=draw.random((len(windows_ms), media)).astype(np.float32),
        segments=("active", "new"),
        segment_media=lists(2, media, 40),
    )


def catalogue_of(items: ItemTable) -> Catalogue:
    """The table as sourcing sees it."""
    return Catalogue.assemble(items, accounts_of(items), index_of(items.media_vector_MD), tables_of(items))


def user(
    name: str = "ann",
    history: Sequence[HistoryRow] = (),
    at_ms: int = NOW,
    profile: Profile | None = None,
    relations: Mapping[Relation, Sequence[int]] | None = None,
) -> UserContexts:
    """One user with a history, oldest action first, and accounts by relation, the latest last."""
    history_H = np.array([(media, int(action), time) for media, action, time in history], dtype=HISTORY_RECORD)
    accounts = {kind: np.array((relations or {}).get(kind, []), dtype=np.int64) for kind in Relation}
    counts_A = np.zeros(N_ACTIONS, dtype=np.uint32)
    state = UserState(profile or Profile(), history_H, counts_A, NOBODY_SAW, accounts)
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
        contexts.append(user(f"user-{b}", rows, profile=_profile(items, draw), relations=_relations(items, draw)))
        seen_B.append(draw.choice(pool, int(draw.choice([0, 5, len(pool) // 2])), replace=False))
    return concatenate(contexts), seen_B


def _profile(items: ItemTable, draw: np.random.Generator) -> Profile:
    segment = str(draw.choice(["", "active", "new", "unheard of"]))
    return Profile(segment=segment, account_id=int(draw.choice([0, *items.account_id_U.tolist()])))


def _relations(items: ItemTable, draw: np.random.Generator) -> dict[Relation, list[int]]:
    unknown = int(items.account_id_U[-1]) + 1
    pool = [*items.account_id_U.tolist(), unknown]
    return {kind: draw.permutation(pool)[: int(draw.integers(0, 6))].tolist() for kind in Relation}
