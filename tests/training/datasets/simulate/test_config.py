"""Configs are checked when they are made, and the presets are what their names promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from training.datasets.simulate import SimulationConfig, default, tiny
from training.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": 0}, r"SimulationConfig\.users = 0: it lies in \[1, 1e\+06\]"),
        ({"topics": 41}, r"SimulationConfig\.topics = 41: it lies in \[2, 40\]"),
        ({"spam_share": 0.6}, r"SimulationConfig\.spam_share = 0\.6: it lies in \[0, 0\.5\]"),
        ({"dwell_share": float("nan")}, r"SimulationConfig\.dwell_share = nan"),
        ({"seed": -1}, r"SimulationConfig\.seed = -1"),
        ({"media": 20_000}, r"SimulationConfig\.media = 20000: there are at least 5 for each account"),
        ({"end": datetime(2026, 1, 15)}, r"SimulationConfig\.end = .*: it is a midnight of UTC"),
        ({"end": datetime(2026, 1, 15, 1, tzinfo=UTC)}, "it is a midnight of UTC"),
        ({"end": datetime(2026, 1, 15, 8, tzinfo=timezone(timedelta(hours=8)))}, "it is a midnight of UTC"),
    ],
)
def test_a_setting_that_no_world_can_have_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulationConfig(**changes)


def test_the_log_covers_its_days_before_the_end() -> None:
    config = default()
    assert datetime.fromtimestamp(config.end_ms / 1000, UTC) == datetime(2026, 1, 15, tzinfo=UTC)
    assert config.end_ms - config.start_ms == timedelta(days=14) / timedelta(milliseconds=1)


def test_presets_take_a_seed_and_keep_their_density() -> None:
    assert (default(seed=5).seed, tiny(seed=6).seed) == (5, 6)
    assert default().media / default().users == tiny().media / tiny().users
