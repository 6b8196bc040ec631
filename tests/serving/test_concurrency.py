"""The adaptive limit, on a clock of its own: against a model of a server, and against any traffic whatever."""

from __future__ import annotations

import heapq
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.concurrency import STALE_S, Bounds, ConcurrencyLimit, Outcome, Running
from serving.testing import FakeClock

BOUNDS = Bounds(floor=2, ceiling=64, tolerance=1.5)


class Server:
    """Processor sharing: a call takes `unloaded_s` while no more than `cores` run, and in proportion longer beyond."""

    def __init__(self, limit: ConcurrencyLimit, clock: FakeClock, cores: int, unloaded_s: float) -> None:
        self.limit, self.clock, self.cores, self.unloaded_s = limit, clock, cores, unloaded_s
        self.limits: list[int] = []  # as they were when calls ended
        self._ends: list[tuple[float, int, Running]] = []
        self._count = 0

    def run(self, callers: int, seconds: float, outcome: Outcome = Outcome.DONE) -> None:
        """So many callers ask again and again; those beyond the limit wait outside."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            while self.limit.running < min(callers, self.limit.limit):
                self._begin()
            end, _, call = heapq.heappop(self._ends)
            self.clock.now = max(self.clock.now, end)
            self.limit.end(call, outcome)
            self.limits.append(self.limit.limit)

    def _begin(self) -> None:
        call = self.limit.begin()
        takes_s = self.unloaded_s * max(1.0, self.limit.running / self.cores)
        self._count += 1
        heapq.heappush(self._ends, (self.clock.now + takes_s, self._count, call))


def server(cores: int = 8, unloaded_s: float = 0.05, bounds: Bounds = BOUNDS) -> Server:
    clock = FakeClock()
    return Server(ConcurrencyLimit(bounds, clock), clock, cores, unloaded_s)


@pytest.mark.parametrize("cores", [4, 8, 16])
def test_under_load_the_limit_settles_where_the_server_is_busy_and_hardly_queues(cores: int) -> None:
    found = server(cores)
    found.run(callers=200, seconds=20)
    settled = found.limits[len(found.limits) // 2 :]
    assert cores <= min(settled)
    assert max(settled) <= 3 * cores


def test_a_server_that_got_slower_is_given_less_and_more_again_when_it_recovers() -> None:
    found = server(cores=16)
    found.run(callers=200, seconds=10)
    before = found.limit.limit
    found.cores = 2
    found.run(callers=200, seconds=10)
    less = found.limit.limit
    assert less <= before / 2
    found.cores = 16
    found.run(callers=200, seconds=10)
    assert found.limit.limit >= before / 2


def test_lasting_load_does_not_become_the_measure_of_what_is_normal() -> None:
    found = server(cores=4)
    found.run(callers=200, seconds=STALE_S * 5)
    assert max(found.limits) <= 3 * 4
    assert min(found.limits[100:]) == BOUNDS.floor  # it looked again, with few calls at a time


def test_the_pace_is_about_the_same_while_it_looks_again() -> None:
    """Few calls take less time each: to take the time of many for theirs would make a wait look several times as long."""
    found = server(cores=2)
    paces: dict[bool, list[float]] = {True: [], False: []}
    found.run(callers=50, seconds=5)
    while found.clock.now < STALE_S * 3:
        found.run(callers=50, seconds=0.01)
        paces[found.limit.limit == BOUNDS.floor].append(found.limit.pace_s)
    for looking, pace_s in paces.items():
        assert statistics.median(pace_s) == pytest.approx(0.05 / 2, rel=0.1), looking


def test_a_service_that_takes_longer_for_good_is_not_throttled_for_ever() -> None:
    found = server(cores=16)
    found.run(callers=200, seconds=10)
    found.unloaded_s *= 10
    found.run(callers=200, seconds=STALE_S * 3)
    assert statistics.median(found.limits[-200:]) >= 16


def test_light_traffic_moves_nothing() -> None:
    found = server()
    found.run(callers=200, seconds=5)
    found.run(callers=1, seconds=1)
    before = found.limit.limit
    found.run(callers=1, seconds=STALE_S * 2)
    found.unloaded_s *= 5
    found.run(callers=1, seconds=5)
    assert found.limit.limit == before


def test_a_limit_that_is_not_reached_does_not_grow() -> None:
    found = server(cores=1000)
    found.run(callers=10, seconds=20)
    assert found.limit.limit <= 14


def test_calls_that_run_out_of_time_lower_the_limit_though_latency_looks_well() -> None:
    found = server(cores=32)
    found.run(callers=32, seconds=10)
    before = found.limit.limit
    found.run(callers=32, seconds=2, outcome=Outcome.MISSED)
    assert found.limit.limit < before / 2


def test_answers_that_all_lost_a_part_to_time_move_nothing_as_something_hangs() -> None:
    found = server(cores=32)
    found.run(callers=32, seconds=10)
    found.run(callers=32, seconds=1, outcome=Outcome.HURRIED)
    before = found.limit.limit
    found.run(callers=32, seconds=STALE_S / 2, outcome=Outcome.HURRIED)
    assert found.limit.limit == before


def test_answers_that_lost_a_part_to_time_beside_others_lower_the_limit() -> None:
    found = server(cores=32)
    found.run(callers=32, seconds=10)
    before = found.limit.limit
    for _ in range(200):
        found.run(callers=32, seconds=0.002, outcome=Outcome.DONE)
        found.run(callers=32, seconds=0.002, outcome=Outcome.HURRIED)
    assert found.limit.limit < before


def test_what_says_nothing_about_load_moves_nothing() -> None:
    clock = FakeClock()
    limit = ConcurrencyLimit(BOUNDS, clock)
    for _ in range(100):
        calls = [limit.begin() for _ in range(20)]
        clock.advance(5.0)
        for call in calls:
            limit.end(call, Outcome.UNTYPICAL)
    assert (limit.limit, limit.usual_s, limit.running) == (BOUNDS.floor, 0.0, 0)


@given(
    st.integers(1, 5),
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1e4), st.sampled_from(Outcome)), max_size=60),
)
def test_whatever_happens_the_limit_stays_within_its_bounds(
    floor: int, more: int, bursts: list[tuple[int, float, Outcome]]
) -> None:
    bounds, clock = Bounds(floor, floor + more), FakeClock()
    limit = ConcurrencyLimit(bounds, clock)
    for count, takes_s, outcome in bursts:
        calls = [limit.begin() for _ in range(count)]
        clock.advance(takes_s)
        for call in calls:
            limit.end(call, outcome)
            assert bounds.floor <= limit.limit <= bounds.ceiling
            assert math.isfinite(limit.usual_s)
    assert limit.running == 0


def test_floor_and_ceiling_may_be_one_fixed_limit() -> None:
    found = server(bounds=Bounds(5, 5))
    found.run(callers=50, seconds=STALE_S * 2)
    assert set(found.limits) == {5}


@pytest.mark.parametrize("wrong", [(0, 5, 1.5), (6, 5, 1.5), (1, 5, 0.9), (1, 5, math.nan), (1, 5, math.inf)], ids=str)
def test_bounds_that_are_none_are_refused(wrong: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="no bounds"):
        Bounds(*wrong)
