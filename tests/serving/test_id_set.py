"""Sets of ids: the sieve in front of the search loses nothing and lets nothing through."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import ragged
from serving.ragged import IdSet, Sets, offsets_of

ids = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 50), max_size=60)


@pytest.mark.parametrize("unsieved", [-1, 64])
@given(ids, ids)
def test_an_id_set_holds_its_ids_and_no_others(unsieved: int, held: list[int], asked: list[int]) -> None:
    with mock.patch.object(ragged, "_UNSIEVED", unsieved):
        found = IdSet.of(np.array(held, dtype=np.int64)).contains(np.array(asked + held, dtype=np.int64))
    assert found.tolist() == [each in set(held) for each in asked + held]


@given(st.integers(0, 600), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_few_and_many_rows_are_looked_up_alike(rows: int, users: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    user_X, row_X = np.sort(draw.integers(0, users, rows)), draw.integers(-1, 40, rows)
    user_P, row_P = np.sort(draw.integers(0, users, 50)), draw.integers(0, 40, 50)
    sets = Sets.of(user_X, row_X, users, 40)
    held = set(zip(user_X.tolist(), row_X.tolist(), strict=True))
    assert sets.contains(user_P, row_P).tolist() == [
        pair in held for pair in zip(user_P.tolist(), row_P.tolist(), strict=True)
    ]
    assert sets.offsets.tolist() == offsets_of(user_X[row_X >= 0], users).tolist()
