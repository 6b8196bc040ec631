"""The size, the clock and the seed of a simulated world. Knows no behaviour: its coefficients stand in `behaviour.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from training.datasets.simulate.names import TOPIC_NAMES
from training.errors import ConfigError

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class SimulationConfig:
    """What `simulate` makes; equal configs make equal files. Raises ConfigError for a value that no world can have."""

    users: int = 20_000
    accounts: int = 5_000
    media: int = 100_000
    topics: int = 40
    days: int = 14
    end: datetime = field(default=datetime(2026, 1, 15, tzinfo=UTC))  # midnight UTC; the log covers the days before
    requests_per_user: float = 4.35  # mean over the whole log
    spam_share: float = 0.04  # of accounts
    random_share: float = 0.03  # of requests: uniform over all media, with known propensity
    dwell_share: float = 0.5  # of clicks: those whose dwell time is logged
    seed: int = 1

    def __post_init__(self) -> None:
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"SimulationConfig.{name}", value, f"it lies in [{least:g}, {most:g}]")
        if self.media < 10 * self.accounts // 2:
            raise ConfigError("SimulationConfig.media", self.media, "there are at least 5 for each account")
        if self.end.tzinfo is None or self.end.utcoffset() != timedelta() or self.end_ms % DAY_MS:
            raise ConfigError("SimulationConfig.end", self.end.isoformat(), "it is a midnight of UTC")

    @property
    def end_ms(self) -> int:
        """The end of the log, epoch milliseconds."""
        return round(self.end.timestamp() * 1000)

    @property
    def start_ms(self) -> int:
        """The start of the log, epoch milliseconds."""
        return self.end_ms - self.days * DAY_MS


_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("users", 1, 1_000_000),
    ("accounts", 10, 200_000),
    ("media", 200, 5_000_000),
    ("topics", 2, len(TOPIC_NAMES)),
    ("days", 1, 60),
    ("requests_per_user", 0.1, 1_000),
    ("spam_share", 0, 0.5),
    ("random_share", 0, 1),
    ("dwell_share", 0, 1),
    ("seed", 0, 2**63 - 1),
)


def default(seed: int = 1) -> SimulationConfig:
    """20 k users, 5 k accounts, 100 k media and about 3 M events in 14 days: a minute on two cores."""
    return SimulationConfig(seed=seed)


def tiny(seed: int = 1) -> SimulationConfig:
    """The same density at a size for tests: 1,200 users, 300 accounts, 6,000 media, some 180 k events."""
    return SimulationConfig(users=1_200, accounts=300, media=6_000, topics=20, seed=seed)
