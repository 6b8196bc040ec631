from __future__ import annotations

from features.actions import Action
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.sources.engaged_accounts import EngagedAccountsSource
from tests.retrieval_svc.sources.proposing import propose, proposed
from tests.retrieval_svc.worlds import NOW, likes, user


def test_the_liked_accounts_own_media_come_best_first(catalogue: Catalogue) -> None:
    found = propose(EngagedAccountsSource(), catalogue, user(history=likes(100)))
    assert proposed(found, catalogue) == [102, 101, 100]
    assert found.seed_account_id_P.tolist() == [10, 10, 10]


def test_a_followed_account_outweighs_a_clicked_one(catalogue: Catalogue) -> None:
    history = [(300, Action.FOLLOW, NOW - 9), (100, Action.CLICK, NOW - 5)]
    found = propose(EngagedAccountsSource(max_media_per_account=1), catalogue, user(history=history))
    assert proposed(found, catalogue) == [302, 102]


def test_who_did_nothing_gets_nothing(catalogue: Catalogue) -> None:
    assert proposed(propose(EngagedAccountsSource(), catalogue, user()), catalogue) == []
