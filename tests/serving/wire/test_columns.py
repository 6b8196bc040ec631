"""The rules of every column, against the plain versions that look at one row after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidArgument
from serving.wire.columns import decode_offsets, repeated_in_a_user


@given(st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=4))
def test_repeated_values_of_a_user_are_found_and_those_of_two_users_are_none(users: list[list[int]]) -> None:
    values = [value for own in users for value in own]
    offsets = np.cumsum([0, *map(len, users)])
    plain = [
        start + row
        for start, own in zip(offsets.tolist(), users, strict=False)
        for row, value in enumerate(own)
        if value in own[:row]
    ]
    assert repeated_in_a_user(np.array(values, np.int64), offsets).tolist() == plain


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_offsets_start_at_zero_and_never_decrease(values: list[int]) -> None:
    good = values[0] == 0 and all(after >= before for before, after in pairwise(values))
    if good:
        assert decode_offsets(values, len(values) - 1, "offsets").tolist() == values
    else:
        with pytest.raises(InvalidArgument, match=r"^offsets"):
            decode_offsets(values, len(values) - 1, "offsets")
