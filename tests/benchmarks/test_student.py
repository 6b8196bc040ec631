"""What benchmarks/student.py makes of scores: means over seeds, orders against the truth, and when it fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.student import _checks, _over_seeds, _truth
from benchmarks.student_slates import Judged
from tests.training.models.worlds import DENSE_SIGNAL, slates
from training.funnel import funnel_values
from training.pipeline import plain


def judged(seed: int = 0) -> Judged:
    made, random = slates(20, size=40, seed=seed), np.random.default_rng(seed)
    true_N = np.nan_to_num(made.dense_NF[:, DENSE_SIGNAL])
    light_N = true_N + random.normal(0, 2, len(true_N)).astype(np.float32)
    return Judged(made, true_N, light_N, true_N)


def test_halves_are_those_of_the_pipeline_and_keep_their_candidates() -> None:
    taught, measured = judged().halves()
    assert (len(taught.slates), len(measured.slates)) == (16, 4)
    assert np.array_equal(measured.deep_N, np.nan_to_num(measured.slates.dense_NF[:, DENSE_SIGNAL]))
    assert measured.retrieval_N[:41].tolist() == [*(-float(place) for place in range(40)), 0.0]


def test_seeds_are_averaged_before_users_are_drawn() -> None:
    one = judged()
    found = [funnel_values(one.slates, score_N, one.light_N, one.deep_N) for score_N in (one.deep_N, -one.deep_N)]
    recall = _over_seeds(found)["recall_page"]
    assert recall["by_seed"] == [1.0, 1.0]  # of 40 candidates all fit through
    assert recall["mean"] == recall["low"] == recall["high"] == 1
    ndcg = _over_seeds(found)["ndcg"]
    assert ndcg["mean"] == pytest.approx(np.mean(ndcg["by_seed"]))
    assert ndcg["by_seed"][0] == 1 > ndcg["by_seed"][1]


def test_the_truth_puts_stages_in_order_over_all_worlds() -> None:
    found = _truth([judged(1), judged(2)])
    assert (found["worlds"], found["slates"]) == (2, 8)
    assert found["orders"]["deep ranker"]["mean"] == 1
    assert found["leads"]["deep ranker"]["low"] > 0
    lead = found["orders"]["deep ranker"]["mean"] - found["orders"]["light ranker"]["mean"]
    assert found["leads"]["deep ranker"]["mean"] == pytest.approx(lead)


def figures(recall: float, high: float | None) -> dict[str, Any]:
    kept = {"mean": recall, "low": recall, "high": recall}
    leads = {"deep ranker": {"mean": 0.0, "low": 0.0, "high": high}}
    orders = {"deep ranker": kept, "light ranker": kept}
    student = {"list_mle": {"recall_page": kept, "funnel_value": kept}}
    return plain({"recipe_loss": "list_mle", "orders": student, "truth": {"orders": orders, "leads": leads}})


def test_a_check_fails_below_its_bound_and_where_nothing_is_known() -> None:
    assert [check.ok for check in _checks(figures(0.99, 0.01), quick=False)] == [True, True, True]
    assert [check.ok for check in _checks(figures(0.97, -0.01), quick=False)] == [True, False, False]
    assert [check.ok for check in _checks(figures(np.nan, None), quick=False)] == [False, False, False]
    assert _checks(figures(0.99, -0.01), quick=True)[2].ok
