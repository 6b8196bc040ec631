from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.context import concatenate
from features.item_table import ItemTable
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.igql.rankers import ACCOUNT_RANKERS
from tests.retrieval_svc.igql.running import Found, accounts, answer, catalogue_with, easy_going, lists, peak_mb, person
from tests.retrieval_svc.worlds import NOW, catalogue_of, hand_made, likes, random_items, random_users

CATALOGUE = catalogue_of(random_items(3))


def neighbours(items: ItemTable, row: int, k: int) -> list[tuple[int, float]]:
    """The published lists, by plain numpy: float16 cosines, the closest first."""
    cosine_U = (items.account_vector_UE @ items.account_vector_UE.T)[row]
    cosine_U[row] = -1
    order_K = np.argsort(-cosine_U, kind="stable")[:k]
    return [(int(near), float(np.float16(cosine_U[near]))) for near in order_K if cosine_U[near] > 0]


def of_user(found: Found, number: int) -> list[tuple[int, int, float]]:
    mine = found.flow.user_P == number
    columns = (found.flow.row_P[mine], found.flow.seed_row_P[mine], found.flow.score_P[mine])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_the_closest_accounts_come_from_the_account_that_they_are_closest_to(catalogue: Catalogue) -> None:
    found = accounts(catalogue, "user.followed().account_nn()", person(followed=[10, 30]))
    assert (found.accounts, found.seeds) == ([20, 40], [10, 30])
    assert found.scores == pytest.approx([0.96, 0.96], abs=1e-3)
    found = accounts(catalogue, "user.followed().account_nn()", person(followed=[10, 40]))
    assert (found.accounts, found.seeds) == ([20, 30], [10, 40])
    found = accounts(catalogue, "user.followed().account_nn()", person(followed=[30]))
    assert (found.accounts, found.seeds) == ([40, 20], [30, 30])
    assert found.scores == pytest.approx([0.96, 0.28], abs=1e-3)


def test_what_the_user_started_from_is_left_out_on_every_hop(catalogue: Catalogue) -> None:
    once = accounts(catalogue, "user.followed().account_nn(max_num_to_retrieve=1)", person(followed=[10]))
    assert once.accounts == [20]
    twice = accounts(catalogue, "user.followed().account_nn(default, 1).account_nn(default, 3)", person(followed=[10]))
    assert (twice.accounts, twice.seeds) == ([40, 30], [10, 10])
    assert twice.scores == pytest.approx([0.96 * 0.5376, 0.96 * 0.28], abs=1e-3)


def test_avoided_accounts_are_no_neighbours(catalogue: Catalogue) -> None:
    contexts = person(history=[(400, Action.HIDE, NOW - 1)], followed=[30])
    assert accounts(catalogue, "user.followed().account_nn()", contexts).accounts == [20]
    assert accounts(catalogue, "user.followed().account_nn()", person(followed=[30], muted=[20])).accounts == [40]


@settings(max_examples=30)
@given(st.integers(0, 1_000), st.integers(1, 12))
def test_account_nn_as_plain_python_says(seed: int, k: int) -> None:
    contexts = easy_going(random_users(CATALOGUE.items, seed, 3)[0])
    before = accounts(CATALOGUE, "user.interacted().author()", contexts)
    found = accounts(CATALOGUE, f"user.interacted().account_nn(max_num_to_retrieve={k})", contexts)
    for b in range(3):
        seeds = of_user(before, b)
        best: dict[int, tuple[float, int]] = {}
        for row, _, score in seeds:
            for near, cosine in neighbours(CATALOGUE.items, row, k):
                best[near] = max(best.get(near, (0.0, 0)), (cosine * score, -row))
        for row, _, _ in seeds:
            best.pop(row, None)
        mine = of_user(found, b)
        assert {(row, source) for row, source, _ in mine} == {(row, -source) for row, (_, source) in best.items()}
        assert [score for _, _, score in mine] == pytest.approx(sorted((s for s, _ in best.values()), reverse=True))


def test_more_neighbours_than_there_are_accounts_cost_no_more_than_all_of_them(catalogue: Catalogue) -> None:
    contexts = person(followed=[10, 20, 30])
    every, more = (f"user.followed().account_nn(max_num_to_retrieve={k}).posted_media()" for k in (4, 1_000_000))
    assert answer(catalogue, more, contexts).media == answer(catalogue, every, contexts).media
    assert peak_mb(catalogue, more, contexts) < 2 * peak_mb(catalogue, every, contexts)


def test_the_second_hop_is_whom_the_followed_follow() -> None:
    catalogue = catalogue_with(hand_made(), follows=lists([1, 3], [0, 3, 2], [], [2]))
    found = accounts(catalogue, "user.followed().followed()", person(followed=[20, 10]))
    assert (found.accounts, found.seeds, found.scores) == ([40, 30], [10, 20], [1.0, 1.0])
    found = accounts(catalogue, "user.followed().followed(2)", person(followed=[20]))
    assert (found.accounts, found.seeds) == ([10, 40], [20, 20])
    found = accounts(catalogue, "user.followed().followed()", person(followed=[20], muted=[10], blocked=[30]))
    assert found.accounts == [40]


def test_the_second_hop_of_stronger_accounts_comes_first() -> None:
    catalogue = catalogue_with(hand_made(), follows=lists([3], [], [1], []))
    found = accounts(catalogue, "user.liked().followed()", person(history=likes(100, 300, 301)))
    assert (found.accounts, found.seeds) == ([20, 40], [30, 10])
    assert found.scores == pytest.approx([1, np.sqrt(0.5)], abs=1e-3)


def test_posts_come_best_first_account_by_account(catalogue: Catalogue) -> None:
    found = answer(catalogue, "user.followed().posted_media(2)", person(followed=[30, 10]))
    assert (found.media, found.seeds, found.scores) == ([102, 101, 302, 301], [10, 10, 30, 30], [1.0] * 4)
    found = answer(catalogue, "user.followed().account_nn().posted_media(1)", person(followed=[10]))
    assert (found.media, found.seeds) == ([202], [10])  # the best post of 40 may not be recommended


def test_posts_of_random_accounts_are_the_best_of_each() -> None:
    contexts = easy_going(random_users(CATALOGUE.items, 5, 4)[0])
    before = accounts(CATALOGUE, "user.interacted()", contexts)
    found = answer(CATALOGUE, "user.interacted().posted_media(5)", contexts)
    items, quality_M = CATALOGUE.items, CATALOGUE.orders.quality_M
    for b in range(4):
        best = [
            row
            for account, _, _ in of_user(before, b)
            for row in sorted(np.flatnonzero(items.author_row_M == account), key=lambda row: -quality_M[row])[:5]
            if items.created_at_ms_M[row] <= NOW and items.non_recommendable_M[row] <= 0.2
        ]
        assert found.of(b) == items.media_id_M[best].tolist()


def test_what_accounts_liked_comes_once() -> None:
    catalogue = catalogue_with(hand_made(), engaged=lists([5, 4, 3], [6], [3, 5, 7], []))
    found = answer(catalogue, "user.followed().engaged_media(2)", person(followed=[40, 20, 30, 10]))
    assert (found.media, found.seeds) == ([202, 201, 200, 300], [10, 10, 30, 20])
    assert found.scores == [1.0] * 4


def test_a_media_item_of_one_user_is_not_missing_for_another() -> None:
    catalogue = catalogue_with(hand_made(), engaged=lists([5, 4], [5], [4], []))
    together = concatenate([person("ann", followed=[10]), person("bob", followed=[30, 20]), person("cid")])
    found = answer(catalogue, "user.followed().engaged_media()", together)
    assert [found.of(b) for b in range(3)] == [[202, 201], [202, 201], []]


def test_accounts_are_ranked_by_how_often_anybody_acted_on_them(catalogue: Catalogue) -> None:
    found = accounts(catalogue, "user.followed().rank(popularity)", person(followed=[30, 10, 40, 20]))
    assert (found.accounts, found.scores) == ([40, 30, 20, 10], [72.0, 69.0, 66.0, 63.0])


def test_accounts_are_ranked_by_the_score_of_their_path_unless_told(catalogue: Catalogue) -> None:
    found = accounts(catalogue, "user.liked().rank()", person(history=likes(300, 301, 100)))
    assert found.accounts == [30, 10]
    assert found.scores == pytest.approx([1, np.sqrt(0.5)], abs=1e-3)
    assert set(ACCOUNT_RANKERS) == {"default", "popularity"}
