"""What the benchmark of load makes of samples of memory."""

from __future__ import annotations

import pytest

from benchmarks.load import growth
from benchmarks.load_stack import Ran


def test_growth_is_from_warm_to_the_end() -> None:
    cold, warm, end = [50.0] * 30, [100.0] * 40, [103.0] * 30
    assert growth(cold + warm + end) == {"warm_mb": 100.0, "end_mb": 103.0, "growth": pytest.approx(0.03)}


def test_one_odd_sample_is_no_growth() -> None:
    assert growth([100.0] * 99 + [500.0])["growth"] == 0.0
    assert growth([100.0])["growth"] == 0.0


def test_pages_per_core_leave_the_client_out() -> None:
    ran = Ran({"figures": {"pages_full": 90}}, 10.0, 5.0, {"gateway": 1.0, "rank_svc": 2.0}).as_json()
    assert ran["pages_per_core_s"] == 30.0
    assert ran["cores"] == {"gateway": 0.1, "rank_svc": 0.2}
    assert ran["client_cores"] == 0.5
