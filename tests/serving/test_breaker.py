"""When an endpoint is left alone, on a clock that the test moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.breaker import Breaker, Outcome
from serving.call_policy import BreakerPolicy
from serving.testing import FakeClock

POLICY = BreakerPolicy(failures_in_a_row=3, failure_share=0.5, window_s=10, window_calls=8, open_s=1.0, max_open_s=4.0)
BAD = [Outcome.LOST, Outcome.LATE]


def breaker(policy: BreakerPolicy = POLICY) -> tuple[Breaker, FakeClock]:
    clock = FakeClock(100.0)
    return Breaker(policy, clock), clock


def call(breaker: Breaker, outcome: Outcome) -> None:
    breaker.end(breaker.begin(), outcome)


def opened() -> tuple[Breaker, FakeClock]:
    made, clock = breaker()
    for _ in range(3):
        call(made, Outcome.LOST)
    assert made.is_open
    return made, clock


def test_calls_without_an_answer_in_a_row_open_it_and_an_answer_between_them_does_not() -> None:
    made, _ = breaker()
    for outcome in (Outcome.LOST, Outcome.LATE, Outcome.ANSWERED, Outcome.LATE, Outcome.LOST):
        call(made, outcome)
    assert made.allows()
    call(made, Outcome.LOST)
    assert (made.is_open, made.allows()) == (True, False)


def test_many_failures_between_answers_open_it_too() -> None:
    made, _ = breaker()
    for outcome in [Outcome.ANSWERED, Outcome.LATE, Outcome.LOST] * 2 + [Outcome.ANSWERED]:
        call(made, outcome)
    assert made.allows()  # 4 of 7 calls, and 7 say nothing about a share
    call(made, Outcome.LATE)
    assert not made.allows()


def test_failures_of_long_ago_do_not_count() -> None:
    made, clock = breaker()
    for outcome in [Outcome.ANSWERED, Outcome.LATE, Outcome.LATE] * 2:
        call(made, outcome)
    clock.advance(10.0)
    for outcome in [Outcome.LATE, Outcome.LATE, *[Outcome.ANSWERED] * 6]:
        call(made, outcome)
    assert made.allows()


def test_after_the_delay_one_call_at_a_time_probes() -> None:
    made, clock = opened()
    clock.advance(0.99)
    assert not made.allows()
    clock.advance(0.01)
    assert made.allows()
    probe = made.begin()
    assert not made.allows()
    made.end(probe, Outcome.ANSWERED)
    assert (made.is_open, made.allows()) == (False, True)


def test_a_probe_that_was_given_up_makes_room_for_another() -> None:
    made, clock = opened()
    clock.advance(1.0)
    call(made, Outcome.UNKNOWN)
    assert (made.is_open, made.allows()) == (True, True)


def test_every_failed_probe_doubles_the_delay_up_to_its_ceiling() -> None:
    made, clock = opened()
    for delay_s in (1.0, 2.0, 4.0, 4.0):
        clock.advance(delay_s - 0.01)
        assert not made.allows()
        clock.advance(0.01)
        call(made, Outcome.LOST)
    clock.advance(4.0)
    call(made, Outcome.ANSWERED)
    for _ in range(3):
        call(made, Outcome.LOST)
    clock.advance(1.0)  # a new trouble starts with the short delay
    assert made.allows()


def test_calls_from_before_it_opened_neither_close_nor_prolong_it() -> None:
    made, clock = breaker()
    before = [made.begin() for _ in range(2)]
    for _ in range(3):
        call(made, Outcome.LOST)
    for begun, outcome in zip(before, (Outcome.ANSWERED, Outcome.LOST), strict=True):
        made.end(begun, outcome)
    assert made.is_open
    clock.advance(1.0)
    assert made.allows()


def test_a_connection_that_is_back_ends_the_delay() -> None:
    made, _ = opened()
    made.probe_now()
    assert (made.is_open, made.allows()) == (True, True)


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.floats(0, 3)), max_size=80))
def test_whatever_happened_a_good_endpoint_is_used_again_within_the_longest_delay(
    history: list[tuple[Outcome, float]],
) -> None:
    made, clock = breaker()
    for outcome, wait_s in history:
        if made.allows():
            call(made, outcome)
        clock.advance(wait_s)
    clock.advance(POLICY.max_open_s)
    assert made.allows()
    call(made, Outcome.ANSWERED)
    assert not made.is_open


@given(st.lists(st.sampled_from([Outcome.ANSWERED, Outcome.UNKNOWN]), max_size=50))
def test_an_endpoint_that_answers_is_never_left_alone(history: list[Outcome]) -> None:
    made, _ = breaker()
    for outcome in history:
        call(made, outcome)
        assert made.allows()


@given(st.lists(st.sampled_from(BAD), min_size=8, max_size=30), st.floats(0.5, 1))
def test_an_endpoint_that_never_answers_gets_at_most_a_window_of_calls(history: list[Outcome], share: float) -> None:
    made, _ = breaker(POLICY.model_copy(update={"failure_share": share}))
    begun = 0
    for outcome in history:
        if made.allows():
            begun += 1
            call(made, outcome)
    assert begun <= POLICY.window_calls
