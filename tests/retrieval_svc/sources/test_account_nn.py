from __future__ import annotations

import numpy as np
import pytest

from features.history import join_history
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import Proposals
from retrieval_svc.ragged import Int64
from retrieval_svc.sources.account_nn import AccountNnSource
from tests.retrieval_svc.sources.proposing import propose, proposed
from tests.retrieval_svc.worlds import likes, user


def test_media_of_the_nearest_accounts_come_first_with_their_seed(catalogue: Catalogue) -> None:
    found = propose(AccountNnSource(), catalogue, user(history=likes(100)))
    assert proposed(found, catalogue) == [202, 201, 200, 402, 401, 400]
    assert found.seed_account_id_P.tolist() == [10] * 6


def test_the_score_joins_similarity_weight_and_quality(catalogue: Catalogue) -> None:
    found = propose(AccountNnSource(), catalogue, user(history=likes(100)), 1)
    best = found.media_row_P[0]
    assert found.score_P == pytest.approx([0.96 * (1 + catalogue.orders.quality_M[best]) / 2])


def test_each_account_comes_from_the_seed_that_it_is_nearest_to(catalogue: Catalogue) -> None:
    found = propose(AccountNnSource(), catalogue, user(history=likes(100, 300)))
    seeds = dict(zip(proposed(found, catalogue), found.seed_account_id_P.tolist(), strict=True))
    assert seeds == {200: 10, 201: 10, 202: 10, 400: 30, 401: 30, 402: 30}


def test_one_account_gives_no_more_than_its_limit(catalogue: Catalogue) -> None:
    source = AccountNnSource(max_media_per_account=1)
    assert proposed(propose(source, catalogue, user(history=likes(100))), catalogue) == [202, 402]


def test_who_liked_nothing_gets_nothing(catalogue: Catalogue) -> None:
    assert proposed(propose(AccountNnSource(), catalogue, user()), catalogue) == []


def test_who_wants_nothing_gets_nothing(catalogue: Catalogue) -> None:
    assert proposed(propose(AccountNnSource(), catalogue, user(history=likes(100)), 0), catalogue) == []


def test_more_wanted_only_appends(catalogue: Catalogue) -> None:
    contexts = user(history=likes(100, 300, 201))
    want_B: Int64 = np.array([2])
    few: Proposals = AccountNnSource().propose(contexts, join_history(contexts, catalogue.items), catalogue, want_B)
    many = propose(AccountNnSource(), catalogue, contexts)
    assert proposed(many, catalogue)[:2] == proposed(few, catalogue)
