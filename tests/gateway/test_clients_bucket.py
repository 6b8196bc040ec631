"""How often a client may call, on a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients_bucket import TokenBucket
from serving.testing import FakeClock


def taken(bucket: TokenBucket, attempts: int) -> int:
    return sum(bucket.take() == 0 for _ in range(attempts))


def test_a_burst_goes_through_and_then_the_rate() -> None:
    clock = FakeClock()
    bucket = TokenBucket(2.0, 5, clock)
    assert taken(bucket, 10) == 5
    assert bucket.take() == pytest.approx(0.5)
    clock.advance(1.0)
    assert taken(bucket, 10) == 2


def test_whoever_waits_as_long_as_told_gets_a_token() -> None:
    clock = FakeClock(1e9)
    bucket = TokenBucket(3.0, 1, clock)
    assert bucket.take() == 0
    for _ in range(1000):
        clock.advance(bucket.take())
        assert bucket.take() == 0


def test_an_idle_bucket_holds_no_more_than_its_burst() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1000.0, 3, clock)
    clock.advance(1e6)
    assert taken(bucket, 10) == 3


def test_other_limits_give_no_tokens_away() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1.0, 10, clock)
    assert taken(bucket, 10) == 10
    bucket.reshape(100.0, 50)
    assert bucket.take() == pytest.approx(0.01)
    clock.advance(10.0)
    assert taken(bucket, 100) == 50
    clock.advance(10.0)
    bucket.reshape(1.0, 2)
    assert taken(bucket, 100) == 2


@given(st.floats(1e-3, 1e6), st.integers(1, 100), st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_never_more_than_burst_and_rate_allow(per_second: float, burst: int, pauses: list[float]) -> None:
    clock = FakeClock()
    bucket = TokenBucket(per_second, burst, clock)
    got = 0
    for pause in pauses:
        clock.advance(pause)
        got += taken(bucket, 20)
        assert got <= burst + per_second * clock.now * (1 + 1e-9) + 1e-3
