"""Random slots: the logged propensities are the frequencies, and chance shows nothing that it must not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diversity import NO_SEED, DiversityConfig, Selection, select
from gateway.random_slots import Draw, RandomSlots

CONFIG = DiversityConfig()
SCORES = st.lists(st.floats(-10, 10, allow_nan=False), min_size=0, max_size=20)
SHARES = st.floats(0, 1)


def page(score: list[float], share: float, request_id: str = "r", size: int = 100, first: int = 0) -> Selection:
    count = len(score)
    authors, seeds = np.arange(count) % 3, np.full(count, NO_SEED)
    draw = Draw(RandomSlots(share), request_id, first)
    return select(np.array(score, float), authors, seeds, size, CONFIG, draw=draw)


@given(SCORES, SHARES, st.text(max_size=10))
def test_a_page_with_chance_is_still_a_permutation_with_propensities(
    score: list[float], share: float, request_id: str
) -> None:
    picked = page(score, share, request_id)
    assert sorted(picked.row_K.tolist()) == list(range(len(score)))
    assert ((picked.propensity_K > 0) & (picked.propensity_K <= 1)).all()


@given(SCORES, SHARES, st.text(max_size=10))
def test_a_negative_value_never_stands_above_one_that_is_not(score: list[float], share: float, request_id: str) -> None:
    values = [score[row] for row in page(score, share, request_id).row_K.tolist()]
    negative = [value < 0 for value in values]
    assert negative == sorted(negative)


@given(SCORES, SHARES, st.text(max_size=10))
def test_the_same_request_gives_the_same_page(score: list[float], share: float, request_id: str) -> None:
    pages = [page(score, share, request_id) for _ in range(2)]
    assert pages[0].row_K.tolist() == pages[1].row_K.tolist()
    assert pages[0].propensity_K.tolist() == pages[1].propensity_K.tolist()


@given(SCORES)
def test_no_share_changes_nothing(score: list[float]) -> None:
    count = len(score)
    plain = select(np.array(score, float), np.arange(count) % 3, np.full(count, NO_SEED), 100, CONFIG)
    drawn = page(score, 0.0)
    assert drawn.row_K.tolist() == plain.row_K.tolist()
    assert drawn.factor_K.tolist() == plain.factor_K.tolist()
    assert drawn.propensity_K.tolist() == [1.0] * count


def test_whole_pages_are_as_frequent_as_their_propensities_say() -> None:
    """Every page of three out of four candidates, one negative, two of one author: chi-square over the pages that are possible."""
    score, requests = [3.0, 2.0, 1.0, 0.5, -1.0], 20_000
    found: Counter[tuple[int, ...]] = Counter()
    propensity: dict[tuple[int, ...], float] = {}
    for number in range(requests):
        picked = page(score, 0.4, f"request-{number}", size=3)
        shown = tuple(picked.row_K.tolist())
        found[shown] += 1
        propensity[shown] = float(np.prod(picked.propensity_K))
    assert len(found) == 24  # 4 x 3 x 2
    assert sum(propensity.values()) == pytest.approx(1.0)
    chi_square = sum((found[shown] - requests * p) ** 2 / (requests * p) for shown, p in propensity.items())
    assert chi_square < 49.7  # 0.1 % of 23 degrees of freedom


def test_weights_of_the_inverse_propensity_sum_to_the_candidates() -> None:
    """The mean of 1 / propensity over an item's showings at a place is one showing per request: what estimators rely on."""
    requests, weight = 20_000, Counter[int]()
    for number in range(requests):
        picked = page([3.0, 2.0, 1.0], 0.5, f"request-{number}", size=1)
        weight[int(picked.row_K[0])] += 1 / picked.propensity_K[0]
    assert [weight[row] / requests for row in range(3)] == pytest.approx([1, 1, 1], abs=0.1)


@pytest.mark.parametrize(("first", "last", "expected"), [(2, 3, [2, 3]), (5, None, [5, 6, 7])])
def test_chance_decides_inside_the_range_of_the_whole_feed_only(
    first: int, last: int | None, expected: list[int]
) -> None:
    draw = Draw(RandomSlots(1.0, first, last), "r", first_position=1)
    drawn = select(np.ones(9), np.arange(9), np.zeros(9, np.int64), 7, CONFIG, draw=draw)
    assert [1 + place for place, p in enumerate(drawn.propensity_K.tolist()) if p < 1] == expected


def test_where_all_that_is_left_is_negative_nothing_is_random() -> None:
    picked = page([-1.0, -2.0], 1.0)
    assert (picked.row_K.tolist(), picked.propensity_K.tolist()) == ([0, 1], [1.0, 1.0])


def test_a_drawn_item_counts_for_its_author() -> None:
    for number in range(100):
        picked = select(
            np.ones(3), np.array([1, 1, 2]), np.zeros(3, np.int64), 3, CONFIG, draw=Draw(RandomSlots(1), f"{number}", 0)
        )
        authors = [[1, 1, 2][row] for row in picked.row_K.tolist()]
        assert picked.factor_K[authors.index(1)] == 1.0
        assert picked.factor_K[2 - authors[::-1].index(1)] == 0.625


@pytest.mark.parametrize(
    ("share", "first", "last"), [(-0.1, 0, None), (1.1, 0, None), (float("nan"), 0, None), (0.5, -1, None), (0.5, 3, 2)]
)
def test_what_is_no_probability_or_no_range_is_refused(share: float, first: int, last: int | None) -> None:
    with pytest.raises(ValueError, match="random slots"):
        RandomSlots(share, first, last)
