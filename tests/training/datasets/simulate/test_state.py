"""Follows hold from their moment on, and parts of a world survive the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.datasets.simulate.state import Follows, load_part, save_part


def follows(*pairs: tuple[int, int]) -> Follows:
    return Follows(
        np.array([pair for pair, _ in pairs], dtype=np.int64), np.array([ms for _, ms in pairs], dtype=np.int64)
    )


def holds(state: Follows, pair: int, time_ms: int) -> bool:
    return bool(state.holds(np.array([pair]), np.array([time_ms]))[0])


def test_a_follow_holds_from_its_moment_on() -> None:
    state = follows((3, 0), (5, 100))
    assert [holds(state, 5, 99), holds(state, 5, 100), holds(state, 4, 500), holds(state, 9, 500)] == [0, 1, 0, 0]


def test_nobody_follows_in_an_empty_world() -> None:
    assert not holds(follows(), 1, 0)


def test_a_pair_that_is_followed_already_keeps_its_time() -> None:
    grown = follows((5, 100)).extended(np.array([7, 5, 2, 7]), since_ms=200)
    assert grown.pair_F.tolist() == [2, 5, 7]
    assert grown.since_ms_F.tolist() == [200, 100, 200]


def test_a_part_survives_the_disk(tmp_path: Path) -> None:
    save_part(follows((3, 0), (5, 100)), tmp_path)
    assert load_part(Follows, tmp_path).since_ms_F.tolist() == [0, 100]


def test_a_part_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"follows\.npz"):
        load_part(Follows, tmp_path)
