from __future__ import annotations

from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import NO_SEED
from retrieval_svc.sources.topic_trending import TopicTrendingSource
from tests.retrieval_svc.sources.proposing import propose, proposed
from tests.retrieval_svc.worlds import likes, user

TRENDING_FOOD = [202, 102, 201, 101, 200, 100]
TRENDING_ART = [402, 302, 401, 301, 400, 300]


def test_one_topic_gives_its_trending_media_without_a_seed(catalogue: Catalogue) -> None:
    found = propose(TopicTrendingSource(), catalogue, user(history=likes(100)))
    assert proposed(found, catalogue) == TRENDING_FOOD
    assert set(found.seed_account_id_P.tolist()) == {NO_SEED}


def test_a_heavier_topic_gets_more_slots(catalogue: Catalogue) -> None:
    found = proposed(propose(TopicTrendingSource(), catalogue, user(history=likes(300, 100, 301)), 6), catalogue)
    assert [row for row in found if row < 300] == TRENDING_FOOD[:2]
    assert [row for row in found if row >= 300] == TRENDING_ART[:4]
    assert found[0] >= 300


def test_only_the_heaviest_topics_count(catalogue: Catalogue) -> None:
    found = propose(TopicTrendingSource(max_topics=1), catalogue, user(history=likes(300, 100, 301)))
    assert proposed(found, catalogue) == TRENDING_ART


def test_who_did_nothing_gets_nothing(catalogue: Catalogue) -> None:
    assert proposed(propose(TopicTrendingSource(), catalogue, user()), catalogue) == []
