from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import POSITIVE_ACTIONS, Action
from features.counters import DAY_MS, HOUR_MS
from features.history import ACTION_WEIGHT, TASTE_HALF_LIFE_MS
from retrieval_svc.catalogue import Catalogue
from tests.retrieval_svc.igql.running import accounts, actions, person
from tests.retrieval_svc.worlds import NOW, HistoryRow, catalogue_of, likes, random_items, random_users, user

CATALOGUE = catalogue_of(random_items(3))

EVENTS: list[HistoryRow] = [
    (100, Action.LIKE, NOW - 3 * DAY_MS),
    (200, Action.SAVE, NOW - 2 * DAY_MS),
    (301, Action.LIKE, NOW - DAY_MS),
    (999, Action.LIKE, NOW - 3 * HOUR_MS),  # the catalogue does not hold it
    (400, Action.HIDE, NOW - 2 * HOUR_MS),
    (100, Action.LIKE, NOW - HOUR_MS),
    (302, Action.CLICK, NOW - HOUR_MS // 2),
]


def weight(action: Action, time_ms: int) -> float:
    return ACTION_WEIGHT[action] * 2 ** (-(NOW - time_ms) / TASTE_HALF_LIFE_MS)


@pytest.mark.parametrize(
    ("text", "media"),
    [
        ("user.liked()", [100, 301]),
        ("user.liked(1)", [100]),
        ("user.liked(window=2h)", [100]),
        ("user.liked(window=24h)", [100, 301]),
        ("user.liked(window=10m)", []),
        ("user.saved()", [200]),
        ("user.saved(window=24h)", []),
        ("user.interacted()", [302, 100, 301, 200]),
        ("user.interacted(any, max_num_to_retrieve=3)", [302, 100, 301]),
        ("user.interacted(click)", [302]),
        ("user.interacted(save, 3d)", [200]),
        ("user.interacted(share)", []),
        ("user.interacted().limit(2)", [302, 100]),
    ],
)
def test_actions_come_newest_first_and_each_media_item_once(catalogue: Catalogue, text: str, media: list[int]) -> None:
    assert actions(catalogue, text, user(history=EVENTS)).media == media


def test_actions_carry_their_author_and_what_they_weigh_today(catalogue: Catalogue) -> None:
    found = actions(catalogue, "user.liked()", user(history=EVENTS))
    assert found.seeds == [10, 30]
    twice = weight(Action.LIKE, NOW - 3 * DAY_MS) + weight(Action.LIKE, NOW - HOUR_MS)
    assert found.scores == pytest.approx([twice, weight(Action.LIKE, NOW - DAY_MS)])


def test_only_the_likes_inside_the_window_weigh(catalogue: Catalogue) -> None:
    found = actions(catalogue, "user.liked(window=2h)", user(history=EVENTS))
    assert found.scores == pytest.approx([weight(Action.LIKE, NOW - HOUR_MS)])


def test_nobody_acted(catalogue: Catalogue) -> None:
    assert actions(catalogue, "user.interacted()", user()).media == []
    assert accounts(catalogue, "user.let(s=user_id).liked().author()", user()).accounts == []


@settings(max_examples=30)
@given(st.integers(0, 1_000), st.integers(1, 12), st.sampled_from([None, DAY_MS, 5 * DAY_MS]))
def test_interacted_as_plain_python_says(seed: int, most: int, window_ms: int | None) -> None:
    contexts, _ = random_users(CATALOGUE.items, seed, 3)
    window = f", window={window_ms // HOUR_MS}h" if window_ms else ""
    found = actions(CATALOGUE, f"user.interacted(max_num_to_retrieve={most}{window})", contexts)
    columns = (contexts.history_media_id_H, contexts.history_action_H, contexts.history_time_ms_H)
    known = set(CATALOGUE.items.media_id_M.tolist())
    for b in range(3):
        mine = slice(contexts.history_offsets[b], contexts.history_offsets[b + 1])
        total: dict[int, float] = {}
        for media, action, time_ms in zip(*(column[mine][::-1].tolist() for column in columns), strict=True):
            if action in POSITIVE_ACTIONS and media in known and NOW - time_ms <= (window_ms or NOW):
                total[media] = total.get(media, 0.0) + weight(Action(action), time_ms)
        assert found.of(b) == list(total)[:most]
        scores = found.flow.score_P[found.flow.user_P == b]
        assert scores.tolist() == pytest.approx(list(total.values())[:most], rel=1e-5)


def test_followed_accounts_come_latest_first(catalogue: Catalogue) -> None:
    contexts = person(followed=[30, 10, 999, 40, 20])
    found = accounts(catalogue, "user.followed()", contexts)
    assert (found.accounts, found.seeds, found.scores) == ([20, 40, 10, 30], [20, 40, 10, 30], [1.0] * 4)
    assert accounts(catalogue, "user.followed(2)", contexts).accounts == [20, 40]


def test_avoided_accounts_are_not_followed_and_take_no_place(catalogue: Catalogue) -> None:
    hidden: list[HistoryRow] = [(402, Action.HIDE, NOW - 1)]
    contexts = person(history=hidden, followed=[10, 20, 30, 40], muted=[30], blocked=[20])
    assert accounts(catalogue, "user.followed(1)", contexts).accounts == [10]


def test_authors_come_once_in_the_order_of_the_newest_like(catalogue: Catalogue) -> None:
    found = accounts(catalogue, "user.liked().author()", user(history=likes(300, 100, 301, 102, 200)))
    assert (found.accounts, found.seeds) == ([20, 10, 30], [20, 10, 30])
    assert found.scores == pytest.approx([np.sqrt(0.5), 1, 1], abs=1e-3)


def test_an_author_scores_the_root_of_its_share_of_the_strongest(catalogue: Catalogue) -> None:
    history: list[HistoryRow] = [
        (100, Action.LIKE, NOW - 3 * DAY_MS),
        (200, Action.SAVE, NOW - 1),
        (101, Action.LIKE, NOW - 1),
    ]
    found = accounts(catalogue, "user.interacted().author()", user(history=history))
    assert found.accounts == [10, 20]  # 10 weighs 2 + 1, 20 weighs 3
    assert found.scores == pytest.approx([1, 1], abs=1e-6)
    found = accounts(catalogue, "user.interacted(like).author()", user(history=[*history, (300, Action.LIKE, NOW - 1)]))
    assert found.accounts == [30, 10]
    assert found.scores == pytest.approx([np.sqrt(2 / 3), 1], abs=1e-6)


def test_avoided_authors_lead_nowhere_and_set_no_scale(catalogue: Catalogue) -> None:
    contexts = person(history=likes(100, 101, 102, 200, 300), muted=[10], blocked=[30])
    found = accounts(catalogue, "user.liked().author()", contexts)
    assert (found.accounts, found.scores) == ([20], [1.0])
