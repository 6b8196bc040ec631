"""The simulation agrees with what queueing theory knows in closed form, within confidence intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.queueing import WARM_UP, Float64, Line, Station, Visit, latencies, poisson, quantiles_ms

SERVICE_S = 0.01
RUNS, REQUESTS = 8, 5_000
STUDENT = 5.41  # quantile 0.9995 of Student's t with RUNS - 1 degrees of freedom

CONSTANT = np.array([SERVICE_S])
EXPONENTIAL = -SERVICE_S * np.log(1 - (np.arange(20_000) + 0.5) / 20_000)  # stands for the distribution


def line(*visits: Visit, servers: int = 1, batch: int = 1) -> Line:
    return Line({visit.station: Station(servers, batch) for visit in visits}, visits)


def runs(at: Line, rate: float, cores: int | None = None) -> list[Float64]:
    """Latencies once warm, of independent runs."""
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        latency_s_R = latencies(at, poisson(rate, REQUESTS, rng), rng, cores)
        found.append(latency_s_R[int(WARM_UP * REQUESTS) :])
    return found


def agrees(values: list[float], expected: float, width: float = 0.25) -> bool:
    """Whether the expected value lies in the confidence interval of the runs' mean, and that is narrow enough to say something."""
    half = STUDENT * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    assert half < width * expected
    return abs(float(np.mean(values)) - expected) <= half


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_m_m_1(load: float) -> None:
    """Sojourn times are exponential, with the rate by which the server is faster than the arrivals."""
    found = runs(line(Visit("a", EXPONENTIAL)), load / SERVICE_S)
    mean_s = SERVICE_S / (1 - load)
    assert agrees([run.mean() for run in found], mean_s)
    assert agrees([float(np.quantile(run, 0.5)) for run in found], mean_s * math.log(2))
    assert agrees([float(np.quantile(run, 0.99)) for run in found], mean_s * math.log(100), width=0.4)


@pytest.mark.parametrize("load", [0.7])
def test_m_d_1(load: float) -> None:
    """Pollaczek and Khinchine: half the wait of exponential service times."""
    found = runs(line(Visit("a", CONSTANT)), load / SERVICE_S)
    assert agrees([run.mean() for run in found], SERVICE_S * (1 + load / (2 * (1 - load))))


def test_m_m_2() -> None:
    """Erlang: with two servers the mean is that of one, divided by 1 + load."""
    load = 0.7
    found = runs(line(Visit("a", EXPONENTIAL), servers=2), 2 * load / SERVICE_S)
    assert agrees([run.mean() for run in found], SERVICE_S / (1 - load**2))


def test_stations_in_series() -> None:
    """Burke and Jackson: each is as if it were alone."""
    load = 0.5
    found = runs(line(Visit("a", EXPONENTIAL), Visit("b", EXPONENTIAL)), load / SERVICE_S)
    assert agrees([run.mean() for run in found], 2 * SERVICE_S / (1 - load))


@pytest.mark.parametrize("work_s_S", [CONSTANT, EXPONENTIAL], ids=["constant", "exponential"])
def test_servers_that_share_a_core(work_s_S: Float64) -> None:
    """Processor sharing: the mean does not depend on how service times are distributed."""
    load = 0.6
    found = runs(line(Visit("a", work_s_S), servers=REQUESTS), load / SERVICE_S, cores=1)
    assert agrees([run.mean() for run in found], SERVICE_S / (1 - load))


def test_batches_that_cost_no_more_carry_any_load() -> None:
    """Constant jobs of any size: whoever comes waits for the rest of one job, or for none, and then takes one."""
    visit = Visit("a", CONSTANT, {2: 1.0, 16: 1.0})
    rng = np.random.default_rng(1)
    latency_s_R = latencies(line(visit, batch=10**6), poisson(20 / SERVICE_S, REQUESTS, rng), rng)
    assert latency_s_R.max() <= 2 * SERVICE_S + 1e-9
    assert latency_s_R[-REQUESTS // 2 :].mean() == pytest.approx(1.5 * SERVICE_S, rel=0.05)


def test_a_lone_request_takes_what_its_work_takes() -> None:
    way = Line(
        {"a": Station(), "b": Station()}, [Visit("a", CONSTANT), Visit("b", CONSTANT), Visit("a", CONSTANT)], 0.5
    )
    rng = np.random.default_rng(1)
    found = latencies(way, np.arange(1.0, 4.0), rng, cores=1)
    assert found == pytest.approx(np.full(3, 3 * SERVICE_S + 0.5))
    assert way.lone_s() == pytest.approx(3 * SERVICE_S + 0.5)


def test_nobody_comes() -> None:
    assert len(latencies(line(Visit("a", CONSTANT)), np.empty(0), np.random.default_rng(1))) == 0


def test_the_same_seed_gives_the_same_latencies() -> None:
    def once() -> dict[str, float]:
        rng = np.random.default_rng(7)
        return quantiles_ms(latencies(line(Visit("a", EXPONENTIAL)), poisson(50.0, 500, rng), rng))

    assert once() == once()


@pytest.mark.parametrize(
    ("growth", "requests", "times"),
    [({}, 3, 3.0), ({2: 1.5}, 1, 1.0), ({2: 1.5, 8: 4.5}, 5, 3.0), ({2: 1.5, 8: 4.5}, 16, 8.5), ({4: 2.5}, 7, 4.0)],
)
def test_work_grows_with_the_batch_as_measured(growth: dict[int, float], requests: int, times: float) -> None:
    assert Visit("a", CONSTANT, growth).times(requests) == pytest.approx(times)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([None, 1, 2]),
)
def test_everybody_leaves_and_nobody_sooner_than_their_work_allows(
    gaps: list[float], servers: int, batch: int, cores: int | None
) -> None:
    visits = [Visit("a", EXPONENTIAL), Visit("b", CONSTANT), Visit("a", CONSTANT)]
    found = latencies(line(*visits, servers=servers, batch=batch), np.cumsum(gaps), np.random.default_rng(1), cores)
    assert np.isfinite(found).all()
    assert (found >= 2 * SERVICE_S - 1e-9).all()


def test_those_of_one_job_go_on_together() -> None:
    """Two wait while the first is served, then share every job: where the first went ahead, the other would wait for it."""
    visits = [Visit("a", CONSTANT, {2: 1.0}), Visit("b", CONSTANT, {2: 1.0})]
    way = Line({"a": Station(batch=2), "b": Station(batch=2)}, visits)
    found = latencies(way, np.array([1.0, 1.001, 1.002]), np.random.default_rng(1))
    assert found == pytest.approx([0.02, 0.029, 0.028])
