"""How a run cuts its log by time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.counters import DAY_MS
from training.errors import FitError
from training.preparation import cut
from training.recipes import Windows

START_MS = 1_760_000_000_000


@given(st.floats(4, 400))
def test_windows_follow_each_other_to_the_end_of_the_log(days: float) -> None:
    cuts = cut(START_MS, START_MS + int(days * DAY_MS), Windows())
    assert cuts.start_ms < cuts.embedding_end_ms < cuts.valid_start_ms < cuts.test_start_ms < cuts.end_ms
    assert cuts.end_ms - cuts.test_start_ms == DAY_MS


def test_a_log_that_is_too_short_says_how_long_it_is() -> None:
    with pytest.raises(FitError, match="a log of 48 h leaves the rankers no time"):
        cut(START_MS, START_MS + 2 * DAY_MS, Windows())
