"""The door: who is let in, who waits, who is sent away, and with which words. On a clock that stands still unless told to move."""

from __future__ import annotations

import asyncio
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.admission import DO_NOT_RETRY, LOW_LATER_S, WAIT, Door, Passage, Priority, Queue
from serving.concurrency import STALE_S, WINDOW_CALLS, WINDOW_S, Bounds, ConcurrencyLimit, Outcome
from serving.errors import DeadlineExceeded, Expired, InvalidArgument, Overloaded
from serving.telemetry import MemoryTelemetry
from serving.testing import FakeClock

HIGH, LOW = Priority.HIGH, Priority.LOW


class Call:
    """A task that goes through the door and stays behind it until told to end."""

    def __init__(self, door: Door, priority: Priority = HIGH, left_s: float | None = None) -> None:
        self.inside, self._end = False, asyncio.Event()
        self.task = asyncio.create_task(self._run(door, priority, left_s))
        vars(door).setdefault("kept", []).append(self)  # or the garbage collector ends it, and the next one gets in

    async def _run(self, door: Door, priority: Priority, left_s: float | None) -> None:
        async with door.pass_through(priority, left_s):
            self.inside = True
            await self._end.wait()

    async def end(self) -> None:
        self._end.set()
        await self.task
        await turn()

    def error(self) -> BaseException | None:
        return self.task.exception() if self.task.done() else None


async def turn() -> None:
    """Lets every task go on as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def fixed(limit: int = 1, queue: int = 4, usual_s: float = 0.0, wait_share: float = 0.3) -> tuple[Door, FakeClock]:
    """A door with a fixed limit, where calls usually take `usual_s`."""
    clock = FakeClock()
    learnt = ConcurrencyLimit(Bounds(limit, limit), clock)
    learnt.usual_s = usual_s
    return Door("svc", learnt, Queue(queue, wait_share), MemoryTelemetry(), clock), clock


async def calls(door: Door, *priorities: Priority, left_s: float | None = None) -> list[Call]:
    """Calls that come in this order."""
    made = []
    for priority in priorities:
        made.append(Call(door, priority, left_s))
        await turn()
    return made


def shed(call: Call) -> Overloaded:
    error = call.error()
    assert isinstance(error, Overloaded), error
    return error


async def test_calls_beyond_the_limit_wait_and_go_in_first_come_first_served() -> None:
    door, _ = fixed(limit=2)
    made = await calls(door, HIGH, HIGH, HIGH, HIGH)
    assert ([call.inside for call in made], door.waiting) == ([True, True, False, False], 2)
    await made[1].end()
    assert [call.inside for call in made] == [True, True, True, False]
    for call in (made[0], made[2], made[3]):
        await call.end()
    assert all(call.inside for call in made)


async def test_high_goes_before_low_that_came_a_little_earlier() -> None:
    door, clock = fixed()
    running, low = await calls(door, HIGH, LOW)
    clock.advance(LOW_LATER_S / 2)
    (high,) = await calls(door, HIGH)
    await running.end()
    assert (high.inside, low.inside) == (True, False)
    await high.end()
    await low.end()


async def test_low_is_not_overtaken_for_ever() -> None:
    door, clock = fixed()
    running, low = await calls(door, HIGH, LOW)
    clock.advance(LOW_LATER_S * 1.01)
    (high,) = await calls(door, HIGH)
    await running.end()
    assert (high.inside, low.inside) == (False, True)
    await low.end()
    await high.end()


async def test_a_full_queue_sheds_the_newest_of_the_lowest_priority() -> None:
    door, _ = fixed(queue=4)
    _, older, newer, first, second = await calls(door, HIGH, LOW, LOW, HIGH, HIGH)
    (third,) = await calls(door, HIGH)
    assert "higher priority" in str(shed(newer))
    assert (older.error(), third.error(), door.waiting) == (None, None, 4)
    (fourth,) = await calls(door, HIGH)
    shed(older)
    (fifth,) = await calls(door, HIGH)
    assert "4 calls are waiting" in str(shed(fifth))
    assert [call.error() for call in (first, second, third, fourth)] == [None] * 4


async def test_low_may_not_fill_the_last_quarter_of_the_queue() -> None:
    door, _ = fixed(queue=4)
    made = await calls(door, HIGH, LOW, LOW, LOW, LOW)
    assert "3 calls are waiting" in str(shed(made[4]))
    assert door.waiting == 3


async def test_under_lasting_overload_low_may_fill_only_half_of_the_queue() -> None:
    door, _ = fixed(queue=4)
    running, *waiting = await calls(door, HIGH, HIGH, HIGH, HIGH, HIGH)
    for sent_away in await calls(door, *[HIGH] * 10):
        shed(sent_away)
    for call in (running, *waiting[:2]):
        await call.end()
    assert door.waiting == 1
    first, second = await calls(door, LOW, LOW)
    assert (first.error(), door.waiting) == (None, 2)
    assert "2 calls are waiting" in str(shed(second))


async def test_without_a_queue_what_is_beyond_the_limit_is_shed() -> None:
    door, _ = fixed(queue=0)
    _, second = await calls(door, HIGH, HIGH)
    shed(second)


@pytest.mark.parametrize("left_s", [0.0, -1.0, math.nan])
async def test_a_call_that_comes_too_late_is_answered_without_work(left_s: float) -> None:
    door, _ = fixed()
    (call,) = await calls(door, HIGH, left_s=left_s)
    assert isinstance(call.error(), Expired)
    assert not call.inside


async def test_a_call_that_would_wait_too_long_is_shed_at_once() -> None:
    door, _ = fixed(usual_s=0.1)
    await calls(door, HIGH, HIGH, left_s=1.0)  # the second waits 0.1 s
    hurried, patient = Call(door, left_s=0.5), Call(door, left_s=5.0)  # 0.2 s for the third
    await turn()
    assert "a wait of 200 ms would leave too little of 500 ms" in str(shed(hurried))
    assert patient.error() is None


async def test_however_slow_calls_were_a_free_place_is_given_away() -> None:
    door, _ = fixed(usual_s=60.0)
    (call,) = await calls(door, HIGH, left_s=0.5)
    assert call.inside


async def test_a_call_with_too_little_time_left_after_waiting_is_not_begun() -> None:
    door, clock = fixed(usual_s=0.1)
    running, waiting, next_one = await calls(door, HIGH, HIGH, HIGH, left_s=2.0)
    clock.advance(1.95)
    (patient,) = await calls(door, HIGH)
    await running.end()
    for late in (waiting, next_one):
        assert "only 50 ms were left" in str(shed(late))
        assert not late.inside
    assert patient.inside


async def test_a_call_that_is_cancelled_while_it_waits_frees_its_place() -> None:
    door, _ = fixed(queue=1)
    running, waiting = await calls(door, HIGH, HIGH)
    waiting.task.cancel()
    await turn()
    assert door.waiting == 0
    (next_one,) = await calls(door, HIGH)
    await running.end()
    assert (waiting.inside, next_one.inside) == (False, True)


async def test_a_call_that_is_cancelled_in_the_turn_in_which_it_is_let_in_gives_its_place_on() -> None:
    door, _ = fixed()
    entered, end = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with door.pass_through(HIGH, None):
            entered.set()
            await end.wait()
        waiting.task.cancel()  # it has just been let in, and does not know it yet

    running = asyncio.create_task(run())
    await entered.wait()
    waiting, next_one = await calls(door, HIGH, HIGH)
    end.set()
    await running
    await turn()
    assert (waiting.inside, waiting.task.cancelled(), next_one.inside) == (False, True, True)
    await next_one.end()
    assert [call.inside for call in await calls(door, HIGH)] == [True]


async def test_a_shed_call_is_told_when_the_queue_will_be_through() -> None:
    door, _ = fixed(usual_s=0.1, queue=1)
    for _ in range(3):  # so that one in three is shed, not one in one
        (call,) = await calls(door, HIGH)
        await call.end()
    made = await calls(door, HIGH, HIGH, HIGH, left_s=9.0)
    assert shed(made[2]).pushback_ms == 200


@pytest.mark.parametrize(("left_s", "pushback_ms"), [(0.6, 200), (0.34, 200), (0.29, DO_NOT_RETRY)])
async def test_only_a_call_without_time_left_by_then_is_told_not_to_try_again(left_s: float, pushback_ms: int) -> None:
    """A wait of 200 ms takes more than the share that may be waited here, but leaves enough for the usual 100 ms."""
    door, _ = fixed(usual_s=0.1, queue=1)
    for _ in range(3):
        (call,) = await calls(door, HIGH)
        await call.end()
    await calls(door, HIGH, HIGH)
    (last,) = await calls(door, HIGH, left_s=left_s)
    assert shed(last).pushback_ms == pushback_ms


async def test_under_lasting_overload_nobody_is_told_to_try_again_until_it_is_over() -> None:
    door, clock = fixed(queue=0, usual_s=0.001)
    made = await calls(door, *[HIGH] * 20)
    assert shed(made[-1]).pushback_ms == DO_NOT_RETRY
    await made[0].end()
    clock.advance(60.0)
    for _ in range(3):
        (call,) = await calls(door, HIGH)
        await call.end()
    _, last = await calls(door, HIGH, HIGH)
    assert shed(last).pushback_ms == 20


async def test_shedding_is_logged_when_it_begins_and_not_for_every_call(caplog: pytest.LogCaptureFixture) -> None:
    door, clock = fixed(queue=0)
    await calls(door, *[HIGH] * 10)
    clock.advance(60.0)
    await calls(door, HIGH, HIGH)
    records = [record for record in caplog.records if record.name == "serving.admission"]
    assert [record.levelno for record in records] == [logging.WARNING] * 2
    assert vars(records[0])["service"] == "svc"


async def test_telemetry_says_how_long_calls_waited_and_what_became_of_them() -> None:
    clock, telemetry = FakeClock(), MemoryTelemetry()
    door = Door("svc", ConcurrencyLimit(Bounds(1, 1), clock), Queue(1), telemetry, clock)
    first, second, _third = await calls(door, HIGH, HIGH, HIGH)
    clock.advance(0.5)
    await first.end()
    await second.end()
    lines = {line.labels["outcome"]: (line.count, line.mean_s) for line in telemetry.snapshot()}
    assert lines == {"ok": (2, 0.25), "overloaded": (1, 0.0)}
    assert {(line.measure, line.labels["grpc_service"]) for line in telemetry.snapshot()} == {(WAIT.name, "svc")}


async def test_a_door_shows_who_runs_and_who_waits() -> None:
    clock = FakeClock()
    door = Door("svc", ConcurrencyLimit(Bounds(1, 1), clock), Queue(1), MemoryTelemetry(), clock)
    first, second = await calls(door, HIGH, HIGH)
    found = {reading.measure.name: (reading.labels, reading.value) for reading in door.readings()}
    assert found == {
        "explore_admission_limit": (("svc",), 1),
        "explore_admission_in_flight": (("svc",), 1),
        "explore_admission_queue_length": (("svc",), 1),
    }
    await first.end()
    await second.end()
    assert [reading.value for reading in door.readings()] == [1, 0, 0]


async def learn(door: Door, clock: FakeClock, ends: BaseException | Outcome) -> None:
    """Bursts at the limit, each call of which takes a second and ends so."""

    async def call() -> None:
        async with door.pass_through(HIGH, 1.01) as passage:
            entered.append(passage)
            await gate.wait()
            if not isinstance(ends, Outcome):
                raise ends
            passage.outcome = ends

    for _ in range(4):
        gate, entered = asyncio.Event(), list[Passage]()
        tasks = [asyncio.create_task(call()) for _ in range(WINDOW_CALLS)]
        await turn()
        clock.advance(1.0)
        gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("ends", "usual_s", "lowers"),
    [
        (Outcome.DONE, 1.0, False),
        (Outcome.UNTYPICAL, 0.5, False),
        (Outcome.MISSED, 0.5, True),
        (Outcome.HURRIED, 0.5, False),
        (DeadlineExceeded("rank", 1.0), 0.5, True),
        (asyncio.CancelledError(), 0.5, True),  # at the end of its time: it ran late
        (InvalidArgument("x", "is wrong"), 0.5, False),
        (KeyError("bug"), 0.5, False),
    ],
    ids=str,
)
async def test_only_calls_that_ran_or_ran_late_say_something_about_load(
    ends: BaseException | Outcome, usual_s: float, lowers: bool
) -> None:
    clock = FakeClock()
    limit = ConcurrencyLimit(Bounds(WINDOW_CALLS // 2, 2 * WINDOW_CALLS, 100.0), clock)
    limit._limit, limit._unloaded_s, limit.usual_s = float(WINDOW_CALLS), 0.5, 0.5
    await learn(Door("svc", limit, Queue(), MemoryTelemetry(), clock), clock, ends)
    assert (limit.usual_s, limit.limit < WINDOW_CALLS, limit.running) == (usual_s, lowers, 0)


async def test_the_time_that_a_call_waited_counts_as_its_time() -> None:
    door, clock = fixed(wait_share=1.0)
    running, waited = await calls(door, HIGH, HIGH, left_s=1.0)
    clock.advance(0.5)
    await running.end()
    assert waited.inside
    clock.advance(0.48)
    waited.task.cancel()  # as gRPC does when the deadline is over
    await turn()
    assert door._limit._missed == 1


async def test_a_call_may_wait_as_long_as_its_service_says() -> None:
    for wait_share, waits in ((0.3, False), (1.0, True)):
        door, _ = fixed(usual_s=0.1, wait_share=wait_share)
        made = await calls(door, HIGH, HIGH, HIGH, left_s=0.5)
        assert (made[2].error() is None) == waits
        for call in made:
            call.task.cancel()


async def test_a_caller_that_loses_interest_says_nothing_about_load() -> None:
    door, clock = fixed(limit=2 * WINDOW_CALLS)
    made = await calls(door, *[HIGH] * 2 * WINDOW_CALLS, left_s=10.0)
    clock.advance(WINDOW_S + 1.0)
    for call in made:
        call.task.cancel()
    await turn()
    assert door._limit.usual_s == 0.0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from(Priority), st.one_of(st.none(), st.floats(0, 3))),
        st.tuples(st.sampled_from(["end", "cancel"]), st.integers(0, 30), st.none()),
        st.tuples(st.just("wait"), st.floats(0, STALE_S), st.none()),
    ),
    max_size=60,
)


@given(st.integers(1, 4), st.integers(0, 6), steps)
def test_whatever_comes_no_place_is_lost_and_nobody_is_forgotten(
    limit: int, queue: int, steps: list[tuple[str, object, float | None]]
) -> None:
    async def story() -> None:
        clock = FakeClock()
        learnt = ConcurrencyLimit(Bounds(limit, limit + 3), clock)
        door = Door("svc", learnt, Queue(queue, 0.5), MemoryTelemetry(), clock)
        made: list[Call] = []
        for what, which, left_s in steps:
            if what == "come":
                made.append(Call(door, Priority(which), left_s))
            elif what == "wait":
                clock.advance(float(str(which)))
            elif made:
                call = made[int(str(which)) % len(made)]
                call.task.cancel() if what == "cancel" else call._end.set()
            if int(clock.now * 10) % 2:  # sometimes several things happen in one turn
                await turn()
            assert learnt.running <= limit + 3
            assert door.waiting <= queue
        for call in made:
            call._end.set()
        await turn()
        for _ in made:
            await turn()
        assert (learnt.running, door.waiting) == (0, 0)
        assert all(call.task.done() for call in made)
        for call in made:
            assert call.task.cancelled() or isinstance(call.error(), Overloaded | Expired | None)

    asyncio.run(story())
