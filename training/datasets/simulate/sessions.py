"""When users open the feed: the requests of one day. Knows activity and the clock; not what is shown.

Shapes: U users, R requests of the day, in time order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.datasets.simulate.config import DAY_MS, SimulationConfig
from training.datasets.simulate.state import Int64, Users

HOUR_MS = 60 * 60 * 1000
MAX_REQUESTS = 5  # per session
_MORE = 0.4  # chance that a session goes on with one more request
_PAUSE_MS = (60_000, 600_000)  # between the requests of a session
# Requests per hour of the day (UTC): a night, a noon and an evening. A session that starts before 23:00 ends before
# midnight, so that whatever a day's events change holds from the next day on.
_HOURLY = np.array([2, 1, 1, 1, 1, 2, 4, 6, 6, 5, 5, 6, 8, 7, 6, 6, 6, 7, 9, 11, 12, 11, 7, 0], dtype=np.float64)


@dataclass(frozen=True)
class Requests:
    """R requests in time order."""

    user_R: Int64
    time_ms_R: Int64


def draw_requests(config: SimulationConfig, users: Users, day: int, rng: np.random.Generator) -> Requests:
    """The requests of one day of the log; nobody looks before registering."""
    sizes = np.arange(MAX_REQUESTS)
    mean_session = float((_MORE**sizes).sum())
    rate_U = users.activity_U * (config.requests_per_user / config.days / mean_session)
    user_S = np.repeat(np.arange(config.users), rng.poisson(rate_U))
    hour_S = rng.choice(24, size=len(user_S), p=_HOURLY / _HOURLY.sum())
    start_ms_S = config.start_ms + day * DAY_MS + hour_S * HOUR_MS + rng.integers(HOUR_MS, size=len(user_S))
    length_S = np.minimum(rng.geometric(1 - _MORE, size=len(user_S)), MAX_REQUESTS)
    pause_ms_SK = rng.integers(*_PAUSE_MS, size=(len(user_S), MAX_REQUESTS))
    pause_ms_SK[:, 0] = 0
    time_ms_SK = start_ms_S[:, None] + np.cumsum(pause_ms_SK, axis=1)
    happens_SK = (sizes < length_S[:, None]) & (time_ms_SK > users.registered_ms_U[user_S, None])
    user_R = np.broadcast_to(user_S[:, None], happens_SK.shape)[happens_SK]
    time_ms_R = time_ms_SK[happens_SK]
    order = np.argsort(time_ms_R, kind="stable")
    return Requests(user_R[order], time_ms_R[order])
