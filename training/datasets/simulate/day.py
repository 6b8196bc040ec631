"""One day of the log: what was shown, who looked, what they did. Knows the world and a policy; no tables.

Shapes: X impressions of the day, Y events of one action.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import Action
from training.datasets.simulate.behaviour import REPORT_SHARE, SPAM_REPORT_SHARE, examination_probability
from training.datasets.simulate.policy import LoggingPolicy, Slates
from training.datasets.simulate.sessions import Requests, draw_requests
from training.datasets.simulate.state import Bool, Int64
from training.datasets.simulate.world import World

_SCROLL_MS = 1_500  # from one position to the next
_WATCH_MS = (500, 300_000)  # shortest and longest dwell time
_ONE_ACTION = {
    "click": Action.CLICK,
    "long_view": Action.LONG_VIEW,
    "like": Action.LIKE,
    "save": Action.SAVE,
    "share": Action.SHARE,
    "comment": Action.COMMENT,
    "follow": Action.FOLLOW,
}


@dataclass(frozen=True)
class ActionEvents:
    """Y events of one action, each caused by an impression of the day."""

    action: Action
    impression_Y: Int64
    delay_ms_Y: Int64  # after the impression
    value_Y: NDArray[np.float32] | None = None  # dwell: milliseconds


@dataclass(frozen=True)
class Day:
    """Everything that happened on one day."""

    requests: Requests
    slates: Slates
    time_ms_X: Int64  # when each item came into view
    events: tuple[ActionEvents, ...]


def live_day(world: World, policy: LoggingPolicy, day: int, rng: np.random.Generator) -> Day:
    """Draws one day. The world is as it was in the morning: follows of the day count from the next one."""
    requests = draw_requests(world.config, world.users, day, rng)
    slates = policy.fill(world, day, requests, rng)
    count = len(slates.media_X)
    scroll_ms_X = slates.position_X * _SCROLL_MS + rng.integers(_SCROLL_MS, size=count)
    time_ms_X = requests.time_ms_R[slates.request_X] + scroll_ms_X
    examined_X = rng.random(count) < examination_probability(slates.position_X)
    behaviour = world.behaviour(requests.user_R[slates.request_X], slates.media_X, time_ms_X)
    done = behaviour.draw(examined_X, rng)
    return Day(requests, slates, time_ms_X, tuple(_events(world, slates, done, rng)))


def _events(world: World, slates: Slates, done: dict[str, Bool], rng: np.random.Generator) -> Iterator[ActionEvents]:
    yield ActionEvents(Action.IMPRESSION, np.arange(len(slates.media_X)), np.zeros(len(slates.media_X), dtype=np.int64))
    for name, action in _ONE_ACTION.items():
        impression_Y = np.flatnonzero(done[name])
        soonest, latest = (200, 1_200) if action is Action.CLICK else (3_000, 30_000)
        yield ActionEvents(action, impression_Y, rng.integers(soonest, latest, size=len(impression_Y)))
    spam_X = world.accounts.is_spam_A[world.media.account_M[slates.media_X]]
    reports_X = rng.random(len(spam_X)) < np.where(spam_X, SPAM_REPORT_SHARE, REPORT_SHARE)
    for action, which_X in ((Action.REPORT, reports_X), (Action.HIDE, ~reports_X)):
        impression_Y = np.flatnonzero(done["negative"] & which_X)
        yield ActionEvents(action, impression_Y, rng.integers(1_500, 20_000, size=len(impression_Y)))
    yield _dwell(world, slates, done, rng)


def _dwell(world: World, slates: Slates, done: dict[str, Bool], rng: np.random.Generator) -> ActionEvents:
    """How long a share of the opened items played: most of their length when they were viewed long."""
    logged_X = rng.random(len(slates.media_X)) < world.config.dwell_share
    impression_Y = np.flatnonzero(done["click"] & logged_X)
    watched_Y = np.where(
        done["long_view"][impression_Y],
        rng.uniform(0.6, 1.2, size=len(impression_Y)),
        rng.beta(1.2, 4.0, size=len(impression_Y)) * 0.6,
    )
    duration_ms_Y = world.media.duration_ms_M[slates.media_X[impression_Y]]
    dwell_ms_Y = (watched_Y * duration_ms_Y).clip(*_WATCH_MS).astype(np.int64)
    return ActionEvents(Action.DWELL, impression_Y, dwell_ms_Y + 1_200, dwell_ms_Y.astype(np.float32))
