"""A sliding count beside a plain list of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.testing import FakeClock
from serving.windows import SlidingCounts

steps = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 1)), max_size=60)


@given(steps)
def test_counts_lie_between_those_of_a_window_one_step_shorter_and_of_the_whole_one(
    events: list[tuple[float, int]],
) -> None:
    clock = FakeClock()
    window = SlidingCounts(2, 10.0, clock)
    times: list[tuple[float, int]] = []
    for wait, kind in events:
        clock.advance(wait)
        window.add(kind)
        times.append((clock.now, kind))
        for asked in (0, 1):
            at_least, at_most = (
                sum(kind == asked and clock.now - at < span for at, kind in times) for span in (9.0 - 1e-6, 10.0 + 1e-6)
            )
            assert at_least <= window.total(asked) <= at_most


def test_everything_is_forgotten_in_time_and_on_demand() -> None:
    clock = FakeClock(5.0)
    window = SlidingCounts(1, 10.0, clock)
    window.add(0)
    clock.advance(10.0)
    assert window.total(0) == 0
    window.add(0)
    window.clear()
    assert window.total(0) == 0
