"""Lists that are cut by their lengths, against the definition row by row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval_svc.flow import first_of_each, start
from retrieval_svc.igql.combine import OVER_QUOTA, cut
from serving.ragged import rank_within

SOURCES = 3
RUN: Any = SimpleNamespace(sources=SOURCES)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=5), st.integers(0, 2**32 - 1))
def test_a_cut_keeps_the_first_rows_and_counts_the_others(users: list[tuple[int, int]], seed: int) -> None:
    draw = np.random.default_rng(seed)
    want_B = np.array([want for _, want in users], dtype=np.int64)
    user_P = np.repeat(np.arange(len(users)), [rows for rows, _ in users])
    flow = start(user_P, np.arange(len(user_P)), np.arange(len(user_P)), np.zeros(len(user_P)), len(users))
    flow.source_P[:] = draw.integers(0, SOURCES, len(user_P))
    found = cut(flow, want_B, RUN)
    kept_P = rank_within(user_P) < want_B[user_P]
    assert found.row_P.tolist() == np.flatnonzero(kept_P).tolist()
    assert found.more_B.tolist() == [rows > want for rows, want in users]
    if kept_P.all():
        assert found is flow
    else:
        count_BS = np.zeros((len(users), SOURCES), dtype=np.int64)
        np.add.at(count_BS, (user_P[~kept_P], flow.source_P[~kept_P]), 1)
        assert found.dropped[OVER_QUOTA].tolist() == count_BS.tolist()


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=4))
def test_the_first_of_equal_rows_stays(rows: list[list[int]]) -> None:
    user_P = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    row_P = np.array([row for each in rows for row in each], dtype=np.int64)
    flow = start(user_P, row_P, np.arange(len(row_P)), np.zeros(len(row_P)), len(rows))
    found = first_of_each(flow, SOURCES, "again")
    assert [found.row_P[found.user_P == user].tolist() for user in range(len(rows))] == [
        list(dict.fromkeys(each)) for each in rows
    ]
