"""The benchmark of an empty hop: every way of it brings answers, and the figures are what they are called."""

from __future__ import annotations

import pytest

from benchmarks.hop import BARE, HOPS, OURS, PAGE_CPU_MS, PAIR, STREAM, Lengths, checks_of, figures_of, measure


async def test_every_way_goes_there_and_back() -> None:
    """Against the real second process; a way that loses an answer would wait for it until the test ends."""
    turns: list[int] = []
    found = await measure(Lengths(hops=30, turns=2), lambda done, total: turns.append(done))
    assert {name: len(values) for name, values in found.items()} == {OURS: 2, BARE: 2, STREAM: 2, PAIR: 2}
    assert turns == [1, 2]
    assert sum(map(sum, found.values())) > 0


@pytest.mark.parametrize(("stream_us", "ok"), [(500.0, True), (100.0, False)])
def test_the_check_fails_when_streams_would_save_much_of_a_page(stream_us: float, ok: bool) -> None:
    figures = figures_of({OURS: [900.0], BARE: [600.0, 800.0, 700.0], STREAM: [stream_us], PAIR: [90.0]})
    assert figures["cpu_us"][BARE] == {"median": 700.0, "min": 600.0, "max": 800.0}
    assert figures["saved_of_page"][STREAM] == pytest.approx(HOPS * (700 - stream_us) / 1000 / PAGE_CPU_MS)
    assert [check.ok for check in checks_of(figures)] == [True, ok]


def test_a_call_that_costs_nothing_was_not_measured() -> None:
    assert not checks_of(figures_of({OURS: [0.0], BARE: [0.0], STREAM: [0.0], PAIR: [0.0]}))[0].ok
