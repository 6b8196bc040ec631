"""What counts as memory that is kept, on given samples."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.fuzz import kept_memory
from benchmarks.fuzz_run import Life

MB = 1_000_000


def test_a_leak_raises_what_is_kept() -> None:
    lives = [Life(1, 0, (50 + round_number) * MB) for round_number in range(21)]
    assert kept_memory(lives) == (56 * MB, 66 * MB)


def test_buffers_that_come_and_go_are_not_kept() -> None:
    rng = np.random.default_rng(1)
    lives = [Life(1, 0, int(50 * MB + 14 * MB * (rng.random() < 0.6))) for _ in range(41)]
    assert kept_memory(lives) == (50 * MB, 50 * MB)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_run_that_was_cut_short_still_has_two_figures(rounds: int) -> None:
    assert kept_memory([Life(1, 0, 50 * MB)] * rounds) == (50 * MB, 50 * MB)
