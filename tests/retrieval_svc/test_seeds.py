from __future__ import annotations

import numpy as np
import pytest

from features.actions import Action
from features.context import UserContexts, concatenate
from features.history import join_history
from retrieval_svc.columns import Accounts
from retrieval_svc.seeds import hidden_accounts, recent_accounts, topic_weights
from tests.retrieval_svc.worlds import NOW, hand_made, likes, user

ITEMS = hand_made()


def seeds(contexts: UserContexts, max_accounts: int = 30) -> Accounts:
    history = join_history(contexts, ITEMS)
    return recent_accounts(history, 4, max_accounts, np.ones(len(contexts), dtype=np.bool_))


def test_accounts_come_newest_first_and_once() -> None:
    assert seeds(user(history=likes(100, 200, 101, 300))).account_row_S.tolist() == [2, 0, 1]


def test_only_the_newest_accounts_count() -> None:
    both = concatenate([user(history=likes(100, 200, 300)), user(history=likes(400))])
    found = seeds(both, 2)
    assert (found.user_S.tolist(), found.account_row_S.tolist()) == ([0, 0, 1], [2, 1, 3])


def test_the_strongest_account_scores_one_and_others_less() -> None:
    found = seeds(user(history=likes(100, 200, 101)))
    assert found.account_row_S.tolist() == [0, 1]
    assert found.score_S.tolist() == pytest.approx([1, np.sqrt(0.5)], abs=1e-3)


def test_an_author_whose_media_was_hidden_leads_nowhere() -> None:
    history = [*likes(100, 300), (101, Action.HIDE, NOW - 1)]
    assert seeds(user(history=history)).account_row_S.tolist() == [2]


def test_media_that_the_table_does_not_know_lead_nowhere() -> None:
    assert seeds(user(history=likes(999))).account_row_S.tolist() == []


def test_hidden_accounts_are_those_of_hides_and_reports() -> None:
    rows = [(100, Action.HIDE, 1), (400, Action.REPORT, 2), (999, Action.HIDE, 3), (200, Action.LIKE, 4)]
    both = concatenate([user(), user("bob", rows)])
    assert hidden_accounts(join_history(both, ITEMS), 4).tolist() == [4 + 0, 4 + 3]


def test_topics_weigh_what_was_liked_less_what_was_hidden() -> None:
    history = [*likes(100, 300, 301), (400, Action.HIDE, NOW - 1)]
    weight_BT = topic_weights(join_history(user(history=history), ITEMS), 2)
    assert weight_BT.tolist() == [pytest.approx([2, 4 - 3], abs=1e-2)]
    assert topic_weights(join_history(user(history=[(400, Action.HIDE, 1)]), ITEMS), 2).tolist() == [[0, 0]]
