from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import concatenate
from features.counters import HOUR_MS
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.flow import Flow, start
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.operator import Operator
from retrieval_svc.igql.operators.shaping import MAX_PER, ROUND_ROBIN, DiversifyBy, Sample, _place_in_group
from serving.ragged import Int64
from tests.retrieval_svc.igql.running import accounts, actions, answer, execution_of, person
from tests.retrieval_svc.worlds import NOW, catalogue_of, hand_made, likes, random_items, user

CATALOGUE = catalogue_of(hand_made())
LARGE = catalogue_of(random_items(3))
FRESH = "user.fresh(max_age=7d)"
PLAN = compile_query(FRESH)

keys_of_users = st.lists(st.lists(st.integers(-2, 5), max_size=25), min_size=1, max_size=4)


def made(operator: type[Operator], *arguments: object) -> Operator:
    """An operator of arguments that a query would have checked."""
    kind: Any = operator
    return kind(*arguments)


def spread(keys: Sequence[Sequence[int]], operator: Operator) -> list[list[tuple[int, int]]]:
    """Per user the rows in their new order: (key, place before). Rows are numbered through the batch."""
    user_P = np.repeat(np.arange(len(keys)), [len(each) for each in keys])
    key_P = np.array([key for each in keys for key in each], dtype=np.int64)
    row_P = np.arange(len(key_P))
    flow = start(user_P, row_P, key_P, np.zeros(len(row_P)), len(keys))
    flow = Flow(**{**vars(flow), "bound": {"key": key_P, "place": row_P}})
    run = execution_of(CATALOGUE, PLAN, concatenate([user(f"user-{b}") for b in range(len(keys))])).run
    found = operator.run(run, flow, np.full(len(keys), 1000))
    pairs = list(zip(found.bound["key"].tolist(), found.row_P.tolist(), strict=True))
    return [
        [pair for pair, owner in zip(pairs, found.user_P.tolist(), strict=True) if owner == b] for b in range(len(keys))
    ]


def test_round_robin_takes_one_of_each_value_in_turn() -> None:
    (found,) = spread([[7, 7, 7, 8, 9, 8, 7]], made(DiversifyBy, "key"))
    assert found == [(7, 0), (8, 3), (9, 4), (7, 1), (8, 5), (7, 2), (7, 6)]


@given(keys_of_users)
def test_round_robin_loses_nothing_and_no_round_holds_a_value_twice(keys: list[list[int]]) -> None:
    before = 0
    for mine, found in zip(keys, spread(keys, made(DiversifyBy, "key", ROUND_ROBIN)), strict=True):
        places = [place - before for _, place in found]
        assert sorted(places) == list(range(len(mine)))
        assert [mine[place] for place in places] == [key for key, _ in found]
        turn = [sum(mine[other] == mine[place] for other in range(place)) for place in places]
        assert list(zip(turn, places, strict=True)) == sorted(zip(turn, places, strict=True))
        values = Counter((key, number) for (key, _), number in zip(found, turn, strict=True))
        assert all(count == 1 for count in values.values())
        before += len(mine)


@given(keys_of_users, st.integers(1, 4))
def test_max_per_keeps_the_first_of_each_value_in_their_order(keys: list[list[int]], most: int) -> None:
    before = 0
    for mine, found in zip(keys, spread(keys, made(DiversifyBy, "key", MAX_PER, most)), strict=True):
        expected = [(key, before + place) for place, key in enumerate(mine) if mine[:place].count(key) < most]
        assert found == expected
        before += len(mine)


def test_rounds_beyond_16_bits_are_sorted_all_the_same() -> None:
    keys = [[1] * 40_000, [1, 2] * 20_000]
    one, other = spread(keys, made(DiversifyBy, "key"))
    assert [place for _, place in one] == list(range(40_000))
    assert [place for _, place in other] == list(range(40_000, 80_000))
    flow = start(np.zeros(3, dtype=np.int64), np.arange(3), np.arange(3), np.zeros(3), 1)
    assert _place_in_group(flow, np.array([2**40, -(2**40), 2**40])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("diversify_by(author_id)", [302, 202, 102, 401, 301, 201, 101, 400, 300, 200, 100]),
        ("rank(trending).diversify_by(topic)", [302, 202, 102, 401, 301, 201, 101, 400, 300, 200, 100]),
        ("filter(max_age=90h).limit(3).diversify_by(topic)", [302, 202, 102]),
        ("diversify_by(author_id, method=max_per, max_per=1)", [302, 202, 102, 401]),
        ("diversify_by(topic, max_per, 2)", [302, 202, 102, 401]),
        ("diversify_by(topic, max_per)", [302, 202, 102, 401, 301, 201]),
    ],
)
def test_media_spread_over_authors_and_topics(catalogue: Catalogue, step: str, expected: list[int]) -> None:
    assert answer(catalogue, f"{FRESH}.{step}", user()).media == expected


def test_media_without_a_topic_share_one_value() -> None:
    items = hand_made()
    items.topic_M[[0, 1]] = -1
    found = answer(catalogue_of(items), f"{FRESH}.diversify_by(topic, max_per, 1)", user())
    assert found.media == [302, 202, 101]


def test_media_spread_over_the_accounts_that_a_path_started_from(catalogue: Catalogue) -> None:
    text = "user.let(seed=user_id).followed().posted_media().diversify_by(seed)"
    found = answer(catalogue, text, person(followed=[30, 10, 20]))
    assert (found.media[:4], found.seeds[:4]) == ([202, 102, 302, 201], [20, 10, 30, 20])
    text = "user.let(seed=user_id).followed().account_nn().let(near=account_id).posted_media().diversify_by(near)"
    found = answer(catalogue, text, person(followed=[30]))
    assert (found.media, set(found.seeds)) == ([401, 202, 400, 201, 200], {30})


def test_a_sample_is_so_many_and_the_same_again() -> None:
    everything = answer(LARGE, FRESH, user()).media
    found = answer(LARGE, f"{FRESH}.sample(20)", user()).media
    assert len(set(found)) == len(found) == 20
    assert set(found) < set(everything)
    assert found == answer(LARGE, f"{FRESH}.sample(20)", user()).media
    assert answer(LARGE, f"{FRESH}.sample(5)", user()).media == found[:5]
    assert sorted(answer(LARGE, f"{FRESH}.sample(1000)", user()).media) == sorted(everything)


def test_every_request_and_every_seed_draw_anew() -> None:
    draws = [
        answer(LARGE, "user.fresh(max_age=20d).sample(10)", user()),
        answer(LARGE, "user.fresh(max_age=20d).sample(10)", user("bob")),
        answer(LARGE, "user.fresh(max_age=20d).sample(10)", user(at_ms=NOW + 1)),
        answer(LARGE, "user.fresh(max_age=20d).sample(10, seed=2)", user()),
    ]
    assert len({tuple(sorted(draw.media)) for draw in draws}) == 4


def test_a_sample_does_not_depend_on_who_else_is_in_the_batch() -> None:
    users = [user("ann"), user("bob", at_ms=NOW - HOUR_MS), user("cid")]
    together = answer(LARGE, f"{FRESH}.sample(9)", concatenate(users))
    assert [together.of(b) for b in range(3)] == [answer(LARGE, f"{FRESH}.sample(9)", each).media for each in users]


def test_a_sample_goes_by_ids_and_not_by_rows() -> None:
    items = random_items(3)
    fewer = np.flatnonzero(items.author_row_M != 4)
    columns = {name: getattr(items, name)[fewer] for name in vars(items) if name.endswith(("_M", "_MA", "_MD"))}
    smaller = catalogue_of(type(items)(**{**vars(items), **columns}))
    gone = set(items.media_id_M.tolist()) - set(smaller.items.media_id_M.tolist())
    before = answer(LARGE, f"{FRESH}.sample(1000)", user()).media
    assert answer(smaller, f"{FRESH}.sample(1000)", user()).media == [media for media in before if media not in gone]


@settings(max_examples=20)
@given(st.integers(1, 10_000))
def test_every_media_item_has_the_same_chance(seed: int) -> None:
    run = execution_of(LARGE, PLAN, user()).run
    rows: Int64 = np.arange(300)
    flow = start(np.zeros(300, dtype=np.int64), rows, rows, np.zeros(300), 1)
    drawn = made(Sample, 100, seed).run(run, flow, np.array([1000])).row_P
    assert 15 <= (drawn < 100).sum() <= 55  # 33.3 are expected, standard deviation 3.9


def test_actions_and_accounts_are_sampled_too(catalogue: Catalogue) -> None:
    contexts = person(history=likes(100, 200, 300, 400), followed=[10, 20, 30, 40])
    assert len(actions(catalogue, "user.liked().sample(2)", contexts).media) == 2
    found = accounts(catalogue, "user.followed().sample(3)", contexts)
    assert len(set(found.accounts)) == 3
    assert found.seeds == found.accounts
    assert found.accounts == accounts(catalogue, "user.followed().sample(4)", contexts).accounts[:3]
