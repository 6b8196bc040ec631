from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.context import concatenate
from features.counters import DAY_MS
from features.item_table import ItemTable
from retrieval_svc.catalogue import Catalogue
from tests.retrieval_svc.igql.running import Found, actions, answer, catalogue_with, easy_going, lists, peak_mb
from tests.retrieval_svc.worlds import NOW, catalogue_of, hand_made, likes, random_items, random_users, user

CATALOGUE = catalogue_of(random_items(3))


def allowed(items: ItemTable, rows: list[int]) -> list[int]:
    """Media ids of the rows that may be recommended to everybody."""
    fine_M = (items.created_at_ms_M <= NOW) & (items.non_recommendable_M <= 0.2)
    return [int(items.media_id_M[row]) for row in rows if fine_M[row]]


def strengths(found: Found, number: int) -> list[tuple[int, float]]:
    mine = found.flow.user_P == number
    score_P = found.flow.score_P[mine]
    return list(zip(found.flow.row_P[mine].tolist(), np.sqrt(score_P / score_P.max(initial=0.0)).tolist(), strict=True))


def test_what_people_liked_together_scores_its_sum() -> None:
    near = lists([3, 4, 6], [4, 5, 3], *([],) * 10, scores=[0.9, 0.5, 0.4, 0.5, 0.45, 0.3])
    catalogue = catalogue_with(hand_made(), co_occurring=near)
    at = NOW - 1
    history = [(100, Action.LIKE, at), (101, Action.LIKE, at)]
    found = answer(catalogue, "user.liked().co_occurring()", user(history=history))
    assert found.media == [200, 201, 202, 300]
    assert found.scores == pytest.approx([1.2, 1.0, 0.45, 0.4])
    found = answer(catalogue, "user.liked().co_occurring(2)", user(history=history))
    assert found.media == [201, 200, 202]
    assert found.scores == pytest.approx([1.0, 0.9, 0.45])


def test_the_seed_is_the_author_of_the_strongest_contribution() -> None:
    near = lists([9], *([],) * 5, [9, 10], *([],) * 5, scores=[0.5, 0.45, 0.4])
    catalogue = catalogue_with(hand_made(), co_occurring=near)
    same, older = NOW - 1, NOW - 3 * DAY_MS
    found = answer(
        catalogue,
        "user.let(s=user_id).liked().let(m=media_id).co_occurring()",
        user(history=[(100, Action.LIKE, same), (300, Action.LIKE, same)]),
    )
    assert (found.media, found.seeds) == ([400, 401], [10, 30])
    assert catalogue.items.media_id_M[found.flow.bound["m"]].tolist() == [100, 300]
    found = answer(
        catalogue,
        "user.liked().co_occurring()",
        user(history=[(100, Action.LIKE, older), (300, Action.LIKE, same)]),
    )
    assert (found.media, found.seeds) == ([400, 401], [30, 30])
    assert found.scores == pytest.approx([0.45 + 0.5 * np.sqrt(0.5), 0.4], abs=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 1_000), st.integers(1, 8))
def test_co_occurring_as_plain_python_says(seed: int, most: int) -> None:
    contexts = easy_going(random_users(CATALOGUE.items, seed, 3)[0])
    before = actions(CATALOGUE, "user.interacted()", contexts)
    found = answer(CATALOGUE, f"user.interacted().co_occurring({most})", contexts)
    near = CATALOGUE.tables.co_occurring
    assert near.score_X is not None
    for b in range(3):
        total: dict[int, float] = {}
        for row, strength in strengths(before, b):
            places = range(near.offsets[row], min(near.offsets[row + 1], near.offsets[row] + most))
            for place in places:
                target = int(near.row_X[place])
                total[target] = total.get(target, 0.0) + float(near.score_X[place]) * strength
        order = sorted(total, key=lambda row: (-total[row], row))
        assert found.of(b) == allowed(CATALOGUE.items, order)


@settings(max_examples=25)
@given(st.integers(0, 1_000), st.integers(1, 20))
def test_media_nn_of_media_as_plain_python_says(seed: int, most: int) -> None:
    contexts = easy_going(random_users(CATALOGUE.items, seed, 3)[0])
    before = actions(CATALOGUE, "user.interacted()", contexts)
    found = answer(CATALOGUE, f"user.interacted().media_nn(max_num_to_retrieve={most})", contexts)
    vector_MD = CATALOGUE.items.media_vector_MD
    for b in range(3):
        total: dict[int, float] = {}
        for row, strength in strengths(before, b):
            cosine_M = vector_MD @ vector_MD[row]
            cosine_M[row] = -2
            for near in np.argsort(-cosine_M, kind="stable")[:most].tolist():
                if cosine_M[near] > 0:
                    total[near] = total.get(near, 0.0) + float(cosine_M[near]) * strength
        mine = found.flow.user_P == b
        assert set(found.of(b)) == set(allowed(CATALOGUE.items, list(total)))
        expected = [total[row] for row in found.flow.row_P[mine].tolist()]
        assert found.flow.score_P[mine].tolist() == pytest.approx(expected, rel=1e-4)
        assert np.all(np.diff(found.flow.score_P[mine]) <= 1e-6)


def test_media_of_equal_vectors_are_neighbours_no_more_often_than_asked() -> None:
    items = hand_made()
    items.media_vector_MD[:], items.media_vector_MD[:, 0] = 0, 1
    found = answer(catalogue_of(items), "user.liked().media_nn(max_num_to_retrieve=2)", user(history=likes(401)))
    assert len(found.media) == 2
    assert 401 not in found.media


def test_media_without_a_vector_have_no_neighbours() -> None:
    items = hand_made()
    items.media_vector_MD[0] = 0
    found = answer(catalogue_of(items), "user.liked().media_nn()", user(history=likes(100)))
    assert found.media == []


@settings(max_examples=25)
@given(st.integers(0, 1_000), st.integers(1, 60))
def test_media_nn_of_a_user_is_what_is_closest_to_the_taste(seed: int, most: int) -> None:
    contexts = easy_going(random_users(CATALOGUE.items, seed, 3)[0])
    found = answer(CATALOGUE, f"user.media_nn(max_num_to_retrieve={most})", contexts)
    taste_BD = found.execution.run.audience.taste_BD
    for b in range(3):
        cosine_M = CATALOGUE.items.media_vector_MD @ taste_BD[b]
        order = np.argsort(-cosine_M, kind="stable")[:most].tolist() if taste_BD[b].any() else []
        assert found.of(b) == allowed(CATALOGUE.items, order)
        mine = found.flow.user_P == b
        assert found.flow.score_P[mine].tolist() == pytest.approx(cosine_M[found.flow.row_P[mine]].tolist(), abs=1e-5)
    assert set(found.seeds) <= {0}


def test_a_user_without_taste_gets_nothing_beside_one_with(catalogue: Catalogue) -> None:
    together = concatenate([user("ann"), user("bob", likes(101)), user("cid", [(101, Action.HIDE, NOW - 1)])])
    found = answer(catalogue, "user.media_nn(max_num_to_retrieve=1)", together)
    assert [found.of(b) for b in range(3)] == [[], [101], []]
    assert answer(catalogue, "user.media_nn()", user()).media == []


@pytest.mark.parametrize("of", ["user", "user.liked()"])
def test_more_media_than_there_are_cost_no_more_than_all_of_them(of: str, catalogue: Catalogue) -> None:
    contexts = user(history=likes(100, 101, 300))
    every, more = (f"{of}.media_nn(max_num_to_retrieve={k})" for k in (12, 1_000_000))
    assert answer(catalogue, more, contexts).media == answer(catalogue, every, contexts).media
    assert peak_mb(catalogue, more, contexts) < 2 * peak_mb(catalogue, every, contexts)
