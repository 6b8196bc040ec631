"""The clock that goes on where a log ended."""

from __future__ import annotations

from gateway.clock import clock_from


def test_the_clock_starts_at_the_given_time_and_goes_on() -> None:
    monotonic = iter([5_000_000_000, 5_000_000_000, 5_250_000_000])
    clock = clock_from(1_000, lambda: next(monotonic))
    assert (clock(), clock()) == (1_000, 1_250)
