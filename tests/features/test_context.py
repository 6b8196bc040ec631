"""Batches of users taken apart and put together."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import UserContexts, concatenate, of_users
from tests.retrieval_svc.worlds import random_items, random_users

ITEMS = random_items(1, media=50, accounts=10)


def assert_equal(one: UserContexts, other: UserContexts) -> None:
    for each in fields(UserContexts):
        np.testing.assert_array_equal(getattr(one, each.name), getattr(other, each.name), each.name)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_users_taken_one_by_one_make_the_batch_again(seed: int) -> None:
    contexts, _ = random_users(ITEMS, seed, 3)
    each = [of_users(contexts, np.array([b])) for b in range(3)]
    assert_equal(concatenate(each), contexts)
    assert_equal(of_users(contexts, np.array([2, 0, 0])), concatenate([each[2], each[0], each[0]]))


def test_no_users_of_a_batch_are_an_empty_batch() -> None:
    assert len(of_users(random_users(ITEMS, 1, 3)[0], np.empty(0, dtype=np.int64))) == 0
