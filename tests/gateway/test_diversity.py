"""The diversity rule: order, fairness and its promise never to promote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.diversity import NO_SEED, DiversityConfig, Selection, discounted, factors, select

CONFIG = DiversityConfig(decay=0.5, floor=0.25)


def _select(
    score: list[float],
    author: list[int],
    seed: list[int] | None = None,
    size: int = 100,
    config: DiversityConfig = CONFIG,
) -> Selection:
    seeds = seed if seed is not None else [NO_SEED] * len(score)
    return select(np.array(score, float), np.array(author, np.int64), np.array(seeds, np.int64), size, config)


# Steps of 1/1024: differences survive the multiplication with a factor.
SCORES = st.lists(st.integers(-5000, 5000).map(lambda n: n / 1024), min_size=1, max_size=30)


@st.composite
def _candidates(draw: st.DrawFn) -> tuple[list[float], list[int], list[int]]:
    score = draw(SCORES)
    group = st.lists(st.integers(0, 4), min_size=len(score), max_size=len(score))
    return score, draw(group), draw(group)


def test_a_second_item_of_an_author_yields_to_a_slightly_worse_one_of_another() -> None:
    assert _select([1.0, 0.9, 0.6], [1, 1, 2]).row_K.tolist() == [0, 2, 1]


def test_the_factor_is_the_published_one() -> None:
    assert _select([1.0, 1.0, 1.0], [7, 7, 7]).factor_K.tolist() == [1.0, 0.625, 0.4375]


def test_author_and_seed_factors_multiply() -> None:
    assert _select([3.0, 1.0], [1, 1], [9, 9]).factor_K.tolist() == [1.0, 0.625**2]


def test_items_without_a_seed_account_share_no_seed() -> None:
    assert _select([3.0, 1.0], [1, 2], [NO_SEED, NO_SEED]).factor_K.tolist() == [1.0, 1.0]


def test_a_negative_value_is_pushed_down_not_promoted() -> None:
    assert _select([1.0, -0.5, -0.6], [1, 1, 2]).row_K.tolist() == [0, 2, 1]


def test_an_empty_list_gives_an_empty_page() -> None:
    assert _select([], []).row_K.tolist() == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        _select([1.0, bad], [1, 2])


@pytest.mark.parametrize(("decay", "floor"), [(-0.1, 0.5), (1.1, 0.5), (0.5, 0.0), (0.5, 1.5)])
def test_a_factor_that_could_starve_or_promote_is_refused(decay: float, floor: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        DiversityConfig(decay, floor)


def test_rows_that_must_be_first_are_and_discount_what_follows() -> None:
    score, author, seed = np.array([1.0, 0.9, 0.1]), np.array([1, 2, 2]), np.zeros(3, np.int64)
    picked = select(score, author, seed, 3, CONFIG, first_F=np.array([2]))
    assert (picked.row_K.tolist(), picked.factor_K.tolist()) == ([2, 0, 1], [1.0, 1.0, 0.625])


@given(_candidates(), st.integers(0, 30))
def test_the_factors_told_are_those_that_the_page_was_made_with(
    candidates: tuple[list[float], list[int], list[int]], size: int
) -> None:
    score, author, seed = candidates
    picked = _select(score, author, seed, size=size)
    author_N, seed_N = factors(picked.row_K, np.array(author, np.int64), np.array(seed, np.int64), CONFIG)
    assert (author_N * seed_N)[picked.row_K].tolist() == pytest.approx(picked.factor_K.tolist())
    for row in set(range(len(score))) - set(picked.row_K.tolist()):
        assert author_N[row] * seed_N[row] == pytest.approx(_reference(row, picked.row_K.tolist(), *candidates)[1])


def test_the_factors_of_nothing_are_nothing() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert [len(factor_N) for factor_N in factors(nothing, nothing, nothing, CONFIG)] == [0, 0]


@given(_candidates(), st.integers(0, 30), st.lists(st.integers(0, 29), max_size=3, unique=True))
def test_the_page_is_that_of_the_plain_rule_to_the_last_bit(
    candidates: tuple[list[float], list[int], list[int]], size: int, first: list[int]
) -> None:
    score_N, author_N, seed_N = (np.array(column) for column in candidates)
    first_F = np.array([row for row in first if row < len(score_N)], np.int64)
    picked = select(score_N, author_N, seed_N, size, CONFIG, first_F)
    row_K, factor_K = _plain_rule(score_N, author_N, seed_N, size, first_F.tolist())
    assert (picked.row_K.tolist(), picked.factor_K.tolist()) == (row_K, factor_K)


def _plain_rule(
    score_N: NDArray[np.float64], author_N: NDArray[np.int64], seed_N: NDArray[np.int64], size: int, first: list[int]
) -> tuple[list[int], list[float]]:
    """All rows anew for every place."""
    rows: list[int] = []
    factors: list[float] = []
    for place in range(min(size, len(score_N))):
        taken = np.array(rows, np.int64)
        same_author_N = (author_N[:, None] == author_N[taken]).sum(axis=1)
        same_seed_N = (seed_N[:, None] == seed_N[taken]).sum(axis=1) * (seed_N != NO_SEED)
        factor_N = np.ones(len(score_N))
        for count_N in (same_author_N, same_seed_N):
            factor_N = factor_N * [
                (1 - CONFIG.floor) * CONFIG.decay**n + CONFIG.floor if n else 1.0 for n in count_N.tolist()
            ]
        worth_N = discounted(score_N, factor_N)
        worth_N[taken] = -np.inf
        rows.append(first[place] if place < len(first) else int(np.argmax(worth_N)))
        factors.append(float(factor_N[rows[-1]]))
    return rows, factors


def test_a_factor_that_is_too_small_for_a_float_leaves_a_negative_score_at_the_end() -> None:
    tiny = DiversityConfig(decay=0.0, floor=1e-200)
    picked = _select([1.0, -1.0, -2.0], [1, 1, 2], [9, 9, 8], config=tiny)
    assert picked.row_K.tolist() == [0, 2, 1]


@given(_candidates())
def test_the_page_is_a_permutation(candidates: tuple[list[float], list[int], list[int]]) -> None:
    assert sorted(_select(*candidates).row_K.tolist()) == list(range(len(candidates[0])))


@given(_candidates())
def test_order_inside_one_author_and_seed_is_kept(candidates: tuple[list[float], list[int], list[int]]) -> None:
    score, author, seed = candidates
    place = {row: k for k, row in enumerate(_select(score, author, seed).row_K.tolist())}
    for a in range(len(score)):
        for b in range(len(score)):
            if (author[a], seed[a]) == (author[b], seed[b]) and score[a] > score[b]:
                assert place[a] < place[b]


@given(SCORES)
def test_without_a_penalty_the_page_is_sorted(score: list[float]) -> None:
    rows = _select(score, [1] * len(score), config=DiversityConfig(decay=1.0)).row_K
    assert rows.tolist() == np.argsort(-np.array(score), kind="stable").tolist()


@given(SCORES)
def test_one_author_alone_keeps_the_order_of_the_scores(score: list[float]) -> None:
    rows = _select(score, [1] * len(score)).row_K
    assert np.array(score)[rows].tolist() == sorted(score, reverse=True)


@given(_candidates())
def test_every_discounted_pick_is_the_best_that_was_left(candidates: tuple[list[float], list[int], list[int]]) -> None:
    score, author, seed = candidates
    picked = _select(score, author, seed)
    taken: list[int] = []
    for row, factor in zip(picked.row_K.tolist(), picked.factor_K.tolist(), strict=True):
        left = [i for i in range(len(score)) if i not in taken]
        discounted = {i: _reference(i, taken, score, author, seed) for i in left}
        assert factor == pytest.approx(discounted[row][1])
        assert discounted[row][0] == pytest.approx(max(value for value, _ in discounted.values()))
        taken.append(row)


def _reference(
    row: int, taken: list[int], score: list[float], author: list[int], seed: list[int]
) -> tuple[float, float]:
    same_author = sum(author[i] == author[row] for i in taken)
    same_seed = sum(seed[i] == seed[row] for i in taken) if seed[row] != NO_SEED else 0
    factor = (0.75 * 0.5**same_author + 0.25) * (0.75 * 0.5**same_seed + 0.25)
    return (score[row] * factor if score[row] >= 0 else score[row] / factor), factor
