"""Which shard an account belongs to: never another one tomorrow, and all of them about equally many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.shards import MAX_SHARDS, WHOLE, Shard, shard_of
from gateway.hashing import mixed

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)


def test_the_numbers_are_those_of_the_documentation() -> None:
    assert shard_of(np.array([1, 2, 3, 1000]), 4).tolist() == [1, 2, 0, 3]


@given(IDS, st.integers(1, MAX_SHARDS))
def test_the_hash_is_the_one_that_is_written_down(ids: list[int], count: int) -> None:
    found = shard_of(np.array(ids, dtype=np.int64), count).tolist()
    assert found == [mixed(each % 2**64) % count for each in ids]


@given(IDS, st.integers(1, 8))
def test_every_account_belongs_to_exactly_one_shard(ids: list[int], count: int) -> None:
    owned = [Shard(index, count).owns(np.array(ids, dtype=np.int64)) for index in range(count)]
    assert (np.sum(owned, axis=0) == 1).all()


def test_accounts_that_are_numbered_in_a_row_spread_evenly() -> None:
    sizes = np.bincount(shard_of(np.arange(1, 100_001), 8))
    assert sizes.min() > 0.97 * 12_500


def test_one_shard_has_everything() -> None:
    assert WHOLE.owns(np.array([1, 2, -5])).all()


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0), (0, MAX_SHARDS + 1)])
def test_a_shard_that_there_cannot_be_is_refused(index: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"there is no shard {index} of {count}"):
        Shard(index, count)
