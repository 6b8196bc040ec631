"""The arithmetic from the cost of a page to replicas, shards, network and money."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.capacity_plan import Assumptions, Service, bytes_per_page, plan, predictions_per_page
from gateway.config import Funnel

ASSUMED = Assumptions(
    predictions_per_s=70_000.0,
    utilisation=0.5,
    price_per_core_hour=0.1,
    media_millions=10.0,
    shard_gib=1.0,
    memory_room=1.5,
)
RANK, RETRIEVAL = Service(10.0, 50.0, 100.0), Service(20.0, 50.0, 300.0)


def test_instagrams_predictions_are_so_many_pages() -> None:
    target = plan({"rank_svc": RANK}, 0.0, Assumptions(), Funnel())
    assert sum(predictions_per_page(Funnel()).values()) == 700
    assert target.pages_per_s == pytest.approx(90e6 / 700)


def test_a_plan_by_hand() -> None:
    target = plan({"retrieval_svc": RETRIEVAL, "rank_svc": RANK}, 50_000.0, ASSUMED, Funnel())
    rank, retrieval = target.services["rank_svc"], target.services["retrieval_svc"]
    assert target.pages_per_s == 100.0
    assert (rank.cores, rank.replicas, rank.pages_per_core_s) == (1.0, 2, 100.0)
    assert (rank.memory_request_mb, rank.memory_limit_mb) == (1050.0, 1575.0)
    assert retrieval.shards == 3  # 3000 MB in shards of 1073.7
    assert retrieval.replicas == 6  # four would do for the work, but every shard has equally many
    assert retrieval.memory_request_mb == 1050.0
    assert target.network_gb_per_s == pytest.approx(0.005)
    assert target.cost_per_hour == pytest.approx(0.8)
    assert target.cost_per_million_pages == pytest.approx(0.8 / 360_000 * 1e6)


@given(st.floats(1.0, 1e9), st.floats(0.01, 1.0), st.floats(0.001, 1e4), st.floats(0.0, 1e4), st.floats(0.0, 1e4))
def test_replicas_carry_the_work_within_the_utilisation_and_no_shard_is_too_large(
    predictions: float, utilisation: float, cpu_ms: float, fixed_mb: float, per_million: float
) -> None:
    assumed = replace(ASSUMED, predictions_per_s=predictions, utilisation=utilisation)
    sized = plan({"retrieval_svc": Service(cpu_ms, fixed_mb, per_million)}, 0.0, assumed, Funnel())
    retrieval = sized.services["retrieval_svc"]
    assert retrieval.cores <= retrieval.replicas * utilisation * (1 + 1e-9)
    assert retrieval.replicas % retrieval.shards == 0
    assert per_million * 10.0 / retrieval.shards <= 1.0 * 2**30 / 1e6 * (1 + 1e-9)


def test_a_service_that_costs_nothing_measurable_needs_a_replica_all_the_same() -> None:
    sized = plan({"rank_svc": Service(0.0, 1.0, 0.0)}, 0.0, ASSUMED, Funnel()).services["rank_svc"]
    assert (sized.replicas, sized.pages_per_core_s) == (1, math.inf)


def test_bytes_are_those_of_all_hops() -> None:
    assert bytes_per_page({"a": (1.0, 2.0), "b": (3.0, 4.0)}) == 10.0
