"""The measured stack as a line of stations."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.capacity_model import at_pace, by_utilisation, line_of, predicted_ms
from benchmarks.capacity_stages import STAGES, Costs, StageCost

WALL_MS = np.linspace(4, 8, 101).tolist()


def costs(page_ms: float = 60.0) -> Costs:
    stage = StageCost(8.0, {1: 5.0, 2: 3.0, 8: 2.0}, WALL_MS, 100.0, 200.0)
    stages = {"gateway": StageCost(10.0), "valkey": StageCost(1.0), **dict.fromkeys(STAGES, stage)}
    return Costs(100, [page_ms] * 101, stages, 10.0, 6000.0)


def test_a_lone_page_takes_what_was_measured() -> None:
    assert line_of(costs(), client_ms=0.0).lone_s() == pytest.approx(0.060)
    assert line_of(costs(), client_ms=2.0).lone_s() == pytest.approx(0.062)


def test_a_page_that_took_less_than_its_cpu_has_no_delay() -> None:
    assert line_of(costs(page_ms=20.0), client_ms=0.0).delay_s == 0.0


def test_a_slower_machine_slows_all_but_the_client_that_was_measured_on_it() -> None:
    line = line_of(costs(), client_ms=2.0)
    assert at_pace(line, 1.5).lone_s() == pytest.approx(0.060 * 1.5 + 0.002)
    assert line.lone_s() == pytest.approx(0.062)


def test_calls_grow_with_their_size_as_measured() -> None:
    assert costs().stages["rank_svc"].growth() == pytest.approx({2: 1.2, 8: 3.2})
    assert StageCost(1.0).growth() == {}
    assert StageCost(1.0, {1: 0.0, 2: 1.0}).growth() == {}  # too few ticks of the clock to say


def test_load_and_fewer_cores_make_pages_slower() -> None:
    line = line_of(costs(), client_ms=1.0)
    idle, busy = (predicted_ms(line, rate, 600, cores=2) for rate in (1.0, 35.0))
    assert idle["p50"] == pytest.approx(61.0, rel=0.1)
    assert busy["p99"] > 1.5 * idle["p99"]
    assert predicted_ms(line, 20.0, 600, cores=1)["p99"] > predicted_ms(line, 20.0, 600, cores=4)["p99"]


def test_a_cluster_is_the_slower_the_more_of_it_is_in_use() -> None:
    found = by_utilisation(costs(), (0.2, 0.95), 1_500)
    assert found[0.2]["p99"] < found[0.95]["p99"]
    assert found[0.2]["p50"] == pytest.approx(60.0, rel=0.15)
