"""Whom users avoid: asked all at once, the answer is that of every set by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_svc.audience import Audience
from tests.retrieval_svc.worlds import catalogue_of, random_items, random_users

ITEMS = random_items(0)
CATALOGUE = catalogue_of(ITEMS)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_avoided_authors_are_those_of_the_three_sets(seed: int, users: int) -> None:
    contexts, seen_B = random_users(ITEMS, seed, users)
    audience = Audience.of(contexts, seen_B, np.full(users, 10), CATALOGUE)
    draw = np.random.default_rng(seed)
    for _ in range(2):  # the same audience is asked about other proposals
        user_P = np.sort(draw.integers(0, users, 200))
        row_P = draw.integers(0, len(ITEMS.media_id_M), 200)
        author_P = ITEMS.author_row_M[row_P].astype(np.int64)
        sets = (audience.hidden, audience.muted, audience.blocked)
        expected = [each.contains(user_P, author_P) for each in sets]
        for each, found_P in zip(sets, expected, strict=True):
            assert audience.is_author_in(each, user_P, row_P).tolist() == found_P.tolist()
        assert audience.avoided(user_P, author_P).tolist() == np.logical_or.reduce(expected).tolist()
