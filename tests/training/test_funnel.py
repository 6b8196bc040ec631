"""The funnel's loss: none for a perfect cascade, all of it for a hostile one, nothing said where values are not positive."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.models.worlds import slates
from training.funnel import FunnelSizes, funnel_values, measure_funnel

SIZES = FunnelSizes(prerank=20, rank=10, page=5)
SLATES = slates(12, size=40)


def values(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(480).astype(np.float32)


def test_a_perfect_cascade_loses_nothing() -> None:
    report = measure_funnel(SLATES, values(), values(), values(), SIZES)
    figures = report.recall_page, report.recall_rank, report.ndcg, report.funnel_value
    assert all(figure.mean == figure.low == figure.high == pytest.approx(1.0) for figure in figures)


def test_a_hostile_student_keeps_nothing_of_the_best_page() -> None:
    report = measure_funnel(SLATES, -values(), values(), values(), SIZES)
    assert report.recall_page.mean == 0
    assert 0 < report.funnel_value.mean < 0.7


def test_a_hostile_light_ranker_costs_value_but_not_the_students_recall() -> None:
    report = measure_funnel(SLATES, values(), -values(), values(), SIZES)
    assert report.recall_page.mean == 1
    assert report.funnel_value.mean < 0.9


def test_a_random_student_keeps_its_share() -> None:
    report = measure_funnel(SLATES, values(1), values(), values(), SIZES)
    assert report.recall_page.low <= 0.5 <= report.recall_page.high


def test_slates_whose_best_page_is_worth_nothing_have_no_ratio() -> None:
    value_N = values()
    value_N[:40] -= 2
    report = measure_funnel(SLATES, values(), values(), value_N, SIZES)
    assert (report.n_slates, report.n_valued) == (12, 11)
    assert report.funnel_value.mean == pytest.approx(1.0)


def test_a_slate_that_fits_through_whole_loses_nothing() -> None:
    report = measure_funnel(SLATES, values(1), values(2), values(), FunnelSizes(40, 40, 5))
    assert report.funnel_value.mean == pytest.approx(1.0)


def test_what_rank_drops_of_the_best_page_counts_after_rank_only() -> None:
    report = measure_funnel(SLATES, values(), -values(), values(), SIZES)
    assert (report.recall_page.mean, report.recall_page_after_rank.mean) == (1, 0)


def test_two_cascades_are_compared_user_by_user() -> None:
    good, bad = (funnel_values(SLATES, prerank_N, values(), values(), SIZES) for prerank_N in (values(), values(1)))
    leads = good.minus(bad)
    assert leads["funnel_value"].mean == pytest.approx(good.report().funnel_value.mean - bad.report().funnel_value.mean)
    assert leads["recall_page"].low > 0
    assert {(lead.mean, lead.low, lead.high) for lead in good.minus(good).values()} == {(0, 0, 0)}
