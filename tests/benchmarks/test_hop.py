"""The benchmark of an empty hop: every way of it brings answers, and the figures are what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from benchmarks.hop import AS_IT_COMES, AS_WE_RUN, HOPS, PAGE_CPU_MS, Lengths, checks_of, figures_of, measure
from benchmarks.hop_ways import BARE, OURS, PAIR, STREAM, WAYS

TWICE_AS_MUCH = {OURS: [1_800.0], BARE: [1_400.0], STREAM: [900.0], PAIR: [800.0]}


def found(ways: Mapping[str, Sequence[float]]) -> dict[str, Mapping[str, Sequence[float]]]:
    return {AS_WE_RUN: ways, AS_IT_COMES: TWICE_AS_MUCH}


def test_every_way_goes_there_and_back() -> None:
    """Against the real processes; a way that loses an answer would wait for it until the test ends."""
    turns: list[int] = []
    counted = measure(Lengths(hops=30, turns=2), lambda done, total: turns.append(done))
    assert {engine: {way: len(us) for way, us in ways.items()} for engine, ways in counted.items()} == {
        AS_WE_RUN: dict.fromkeys(WAYS, 2),
        AS_IT_COMES: dict.fromkeys(WAYS, 2),
    }
    assert turns == [1, 2]
    assert sum(sum(us) for ways in counted.values() for us in ways.values()) > 0


@pytest.mark.parametrize(("stream_us", "ok"), [(500.0, True), (100.0, False)])
def test_the_check_fails_when_streams_would_save_much_of_a_page(stream_us: float, ok: bool) -> None:
    figures = figures_of(found({OURS: [900.0], BARE: [600.0, 800.0, 700.0], STREAM: [stream_us], PAIR: [90.0]}))
    assert figures["cpu_us"][AS_WE_RUN][BARE] == {"median": 700.0, "min": 600.0, "max": 800.0}
    assert figures["saved_of_page"][STREAM] == pytest.approx(HOPS * (700 - stream_us) / 1000 / PAGE_CPU_MS)
    assert [check.ok for check in checks_of(figures)] == [True, ok, True]


@pytest.mark.parametrize(("bare_us", "ok"), [(1_300.0, True), (1_350.0, False)])
def test_the_check_fails_when_grpc_as_it_comes_costs_hardly_more(bare_us: float, ok: bool) -> None:
    figures = figures_of(found({OURS: [1_500.0], BARE: [bare_us], STREAM: [1_200.0], PAIR: [1_100.0]}))
    assert [check.ok for check in checks_of(figures)] == [True, True, ok]


def test_a_call_that_costs_nothing_was_not_measured() -> None:
    assert not checks_of(figures_of(found({way: [0.0] for way in WAYS})))[0].ok
