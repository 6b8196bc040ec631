"""Figures, bounds and the verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.client import DEGRADED, FEEDBACK, PAGES
from loadtests.slo import Bounds, Figures, Row, judge, quantile

GOOD = Figures(1000, 1, 500, 500, 5, 40.0, 1000.0)


def test_pages_are_judged_apart_from_feedback() -> None:
    found = Figures.of(
        [
            Row(PAGES, "first page", 10, 1, {10: 9, 500: 1}),
            Row(PAGES, "later page" + DEGRADED, 4, 0, {20: 4}),
            Row(FEEDBACK, "like", 100, 2, {9000: 100}),
        ]
    )
    assert found == Figures(114, 3, 14, 13, 4, 10, 500)


def test_everything_on_its_bound_holds() -> None:
    verdict = judge(replace(GOOD, pages_full=500), Bounds(0.001, 1000.0, 0.01, 1.0))
    assert verdict.ok
    assert str(verdict).startswith("SLO HELD")


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"failed": 2}, "failed requests"),
        ({"page_p99_ms": 1001.0}, "page p99"),
        ({"pages_degraded": 6}, "degraded pages"),
        ({"pages_full": 499}, "full pages"),
        ({"page_p99_ms": float("nan")}, "page p99"),
    ],
)
def test_a_verdict_names_the_bound_that_was_missed(change: dict[str, float], missed: str) -> None:
    verdict = judge(replace(GOOD, **change), Bounds())  # type: ignore[arg-type]
    assert not verdict.ok
    assert verdict.missed == missed
    assert str(verdict).startswith(f"SLO MISSED: {missed}")
    json.dumps(verdict.as_json(), allow_nan=False)


def test_nothing_measured_is_a_miss() -> None:
    verdict = judge(Figures.of([]), Bounds())
    assert len(verdict.missed.split(", ")) == 4
    json.dumps(verdict.as_json(), allow_nan=False)


def test_a_part_of_a_run_is_what_came_since() -> None:
    before, after = Row(PAGES, "p", 3, 1, {10: 2, 20: 1}), Row(PAGES, "p", 5, 1, {10: 2, 20: 2, 30: 1})
    assert after.since(before) == Row(PAGES, "p", 2, 0, {20: 1, 30: 1})


@given(st.lists(st.integers(0, 5000), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_those_of_the_list(times: list[int], q: float) -> None:
    counted = {ms: times.count(ms) for ms in times}
    assert quantile(counted, q) == np.quantile(times, q, method="inverted_cdf")
