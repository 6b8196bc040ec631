from __future__ import annotations

from features.context import concatenate
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.sources.trending import TrendingSource
from tests.retrieval_svc.sources.proposing import propose, proposed
from tests.retrieval_svc.worlds import likes, user


def test_everybody_gets_the_same_head_of_the_list(catalogue: Catalogue) -> None:
    both = concatenate([user(), user("bob", likes(100))])
    assert proposed(propose(TrendingSource(), catalogue, both, 3), catalogue) == [402, 302, 202] * 2


def test_it_can_deliver_the_whole_catalogue(catalogue: Catalogue) -> None:
    found = proposed(propose(TrendingSource(), catalogue, user(), 10**9), catalogue)
    assert sorted(found) == catalogue.items.media_id_M.tolist()
