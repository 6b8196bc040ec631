"""What the benchmark of overload makes of its answers."""

from __future__ import annotations

import pytest

from benchmarks.overload_client import NORMAL_RUN, Answer, Phase, Seen


def seen(*answers: tuple[str, float, float], normal_ms: float = 100.0) -> Seen:
    """Answers as (kind, when, milliseconds); those of even seconds open a feed."""
    made = [Answer(kind, int(end_s) % 2 == 0, end_s, ms) for kind, end_s, ms in answers]
    return Seen(Phase("test", 4.0, callers=1, normal_ms=normal_ms), made)


def test_only_full_pages_count_and_degraded_ones_are_told_apart() -> None:
    found = seen(("page", 0, 10), ("degraded", 1, 20), ("shed", 2, 1), ("not full", 2, 5)).summary()
    assert (found["offered"], found["goodput"], found["undegraded"], found["shed"]) == (4, 0.5, 0.25, 1)
    assert found["failed"] == {"not full": 1}


def test_a_call_that_ran_out_of_time_was_let_in_and_counts_as_late() -> None:
    found = seen(("page", 0, 10), ("DEADLINE_EXCEEDED", 0, 1000)).summary()
    assert found["page_ms"]["p100"] == 1000
    assert found["let_in"] == {"first pages": 1.0, "later pages": 0.0}


@pytest.mark.parametrize("abnormal", [("page", 1.5, 101.0), ("degraded", 1.5, 10.0), ("shed", 1.5, 1.0)])
def test_normal_again_is_when_enough_normal_pages_in_a_row_began(abnormal: tuple[str, float, float]) -> None:
    normal = [("page", 2 + i / 100, 100.0) for i in range(NORMAL_RUN)]
    assert seen(*normal).summary()["normal_after_s"] == 0.0
    assert seen(abnormal, *normal).summary()["normal_after_s"] == 1.5
    assert seen(*normal[1:], abnormal).summary()["normal_after_s"] == 4.0


def test_nothing_is_no_division_by_zero() -> None:
    found = seen().summary()
    assert (found["goodput"], found["page_ms"], found["let_in"]["first pages"]) == (0.0, {}, 0.0)
